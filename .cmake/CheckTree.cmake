# SPDX-License-Identifier: Apache-2.0
#
# Fails when a source or a public header in SOURCE_DIR is compiled by nothing
# in BINARY_DIR: a test that nobody builds passes for ever. LEFT_OUT: folders
# that are not built because something that they need is not there.

file(READ "${BINARY_DIR}/compile_commands.json" commands)
# Sources that are compiled several at a time.
file(GLOB_RECURSE batches "${BINARY_DIR}/unity_*_cxx.cxx")
foreach(batch IN LISTS batches)
  file(READ "${batch}" text)
  string(APPEND commands "${text}")
endforeach()
set(forgotten "")

foreach(folder IN ITEMS api impl conformance examples)
  file(GLOB_RECURSE files RELATIVE "${SOURCE_DIR}"
    "${SOURCE_DIR}/${folder}/*.cc" "${SOURCE_DIR}/${folder}/*.h"
  )
  foreach(file IN LISTS files)
    set(left_out FALSE)
    foreach(prefix IN LISTS LEFT_OUT)
      cmake_path(IS_PREFIX prefix "${file}" left_out)
      if(left_out)
        break()
      endif()
    endforeach()
    if(left_out)
      continue()
    endif()
    if(file MATCHES "/include/(.*\\.h)$")
      # CMake compiles a source <header>.cxx for each header of a file set.
      set(wanted "_verify_interface_header_sets/${CMAKE_MATCH_1}.cxx")
    elseif(file MATCHES "\\.cc$")
      set(wanted "${SOURCE_DIR}/${file}")
    else()
      continue()
    endif()
    string(FIND "${commands}" "${wanted}\"" position)
    if(position EQUAL -1)
      string(APPEND forgotten "  ${file}\n")
    endif()
  endforeach()
endforeach()

if(forgotten)
  message(FATAL_ERROR "check the tree: nothing compiles these files; name "
    "each in the CMakeLists.txt of its folder:\n${forgotten}"
  )
endif()
