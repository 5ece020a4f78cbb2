# SPDX-License-Identifier: Apache-2.0
#
# Fails unless the C++ in README is a piece of PROGRAM, which is compiled and
# run: what a newcomer copies works.

file(READ "${README}" readme)
file(READ "${PROGRAM}" program)
string(REGEX MATCH "```cpp\n([^`]+)```" block "${readme}")
if(NOT block)
  message(FATAL_ERROR "read \"${README}\": there is no C++ block")
endif()
string(FIND "${program}" "${CMAKE_MATCH_1}" position)
if(position EQUAL -1)
  message(FATAL_ERROR "read \"${README}\": its C++ block is not a piece of "
    "\"${PROGRAM}\"; expected the same lines in both"
  )
endif()
