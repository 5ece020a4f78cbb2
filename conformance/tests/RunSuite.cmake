# SPDX-License-Identifier: Apache-2.0
#
# Runs the suite against the reference driver: DRIVER is memory or file. Its
# reports stay in FOLDER.

file(MAKE_DIRECTORY "${FOLDER}")
set(url "oms:memory://conformance")
if(DRIVER STREQUAL "file")
  file(REMOVE_RECURSE "${FOLDER}/store")
  set(url "oms:file:${FOLDER}/store")
endif()
execute_process(
  COMMAND "${PROGRAM}" "${url}" --json "${FOLDER}/${DRIVER}.json"
    --junit "${FOLDER}/${DRIVER}.xml" --html "${FOLDER}/${DRIVER}.html"
  RESULT_VARIABLE code
)
file(REMOVE_RECURSE "${FOLDER}/store")
if(NOT code EQUAL 0)
  message(FATAL_ERROR "the suite ended with ${code}")
endif()
