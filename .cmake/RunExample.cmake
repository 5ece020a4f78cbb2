# SPDX-License-Identifier: Apache-2.0
#
# Runs PROGRAM in the empty FOLDER and compares what it prints with EXPECTED.

file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
execute_process(COMMAND "${PROGRAM}" WORKING_DIRECTORY "${FOLDER}"
  OUTPUT_FILE "${FOLDER}.txt" RESULT_VARIABLE result
)
file(READ "${FOLDER}.txt" printed)
file(READ "${EXPECTED}" expected)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "run \"${PROGRAM}\": it ended with ${result}; "
    "expected 0; it printed:\n${printed}"
  )
endif()
if(NOT printed STREQUAL expected)
  message(FATAL_ERROR "run \"${PROGRAM}\": it printed:\n${printed}"
    "expected (${EXPECTED}):\n${expected}"
  )
endif()
