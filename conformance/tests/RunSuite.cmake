# SPDX-License-Identifier: Apache-2.0
#
# Runs the suite against the reference driver: DRIVER is memory or file. Its
# reports stay in FOLDER.

file(MAKE_DIRECTORY "${FOLDER}")
set(url "oms:memory://conformance")
if(DRIVER STREQUAL "file")
  set(store "${FOLDER}/store")
  file(REMOVE_RECURSE "${store}")
  set(url "oms:file:${store}")
endif()
# A sanitizer on a busy machine is slow, and no test may seem to hang for that.
execute_process(
  COMMAND "${PROGRAM}" "${url}" --test-limit 120
    --json "${FOLDER}/${DRIVER}.json"
    --junit "${FOLDER}/${DRIVER}.xml" --html "${FOLDER}/${DRIVER}.html"
  RESULT_VARIABLE code
)
if(DRIVER STREQUAL "file")  # The two run side by side.
  file(REMOVE_RECURSE "${store}")
endif()
if(NOT code EQUAL 0)
  message(FATAL_ERROR "the suite ended with ${code}")
endif()
