# SPDX-License-Identifier: Apache-2.0
#
# Runs the suite against DRIVER: memory, file, or that of a broker, which is in
# LIBRARY; where the broker is, and what the suite must know of it, is in the
# environment (OMS_<DRIVER>_URL, OMS_<DRIVER>_SUITE), as conformance/check sets
# it. Reports stay in FOLDER.

file(MAKE_DIRECTORY "${FOLDER}")
# A sanitizer on a busy machine is slow, and no test may seem to hang for that.
set(options --test-limit 120)
set(url "oms:memory://conformance")
if(DRIVER STREQUAL "file")
  set(store "${FOLDER}/store")
  file(REMOVE_RECURSE "${store}")
  set(url "oms:file:${store}")
elseif(LIBRARY)
  string(TOUPPER "${DRIVER}" name)
  set(url "$ENV{OMS_${name}_URL}")
  if(NOT url)
    message("OMS_${name}_URL is not set")
    return()
  endif()
  set(options --config "$ENV{OMS_${name}_SUITE}" --driver-library "${LIBRARY}")
endif()
execute_process(
  COMMAND "${PROGRAM}" "${url}" ${options}
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
