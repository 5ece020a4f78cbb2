# SPDX-License-Identifier: Apache-2.0
#
# What the folders of this project share: one target for the warnings, and one
# function for each kind of thing that they build. A file that is not named in
# a call is not built; there are no globs.

include_guard(GLOBAL)
include(Install)

# Where drivers lie that programs load.
set(OPENMESSAGING_DRIVER_DIR "${PROJECT_BINARY_DIR}/lib/openmessaging")

# The warnings of this project's own sources. It is never part of what a user
# links. Warnings are errors where CMAKE_COMPILE_WARNING_AS_ERROR says so.
add_library(openmessaging_warnings INTERFACE)
target_compile_options(openmessaging_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
  $<$<CXX_COMPILER_ID:Clang,AppleClang>:-Wthread-safety>
)

if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=thread")
  add_library(openmessaging_tsan OBJECT
    "${CMAKE_CURRENT_LIST_DIR}/tsan_suppressions.cc"
  )
endif()

if(OPENMESSAGING_BUILD_FUZZERS)
  add_custom_target(fuzzers)
endif()

# Makes the build of everything also compile each public header of `target`
# alone. The sources for that are CMake's own.
function(openmessaging_verify_headers target)
  set_target_properties(${target} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  if(OPENMESSAGING_VERIFY_HEADERS)
    add_custom_target(${target}_headers ALL)
    add_dependencies(${target}_headers ${target}_verify_interface_header_sets)
  endif()
endfunction()

# openmessaging_leave_out(<path> <what is not there>)
#
# Says that what is in <path>, below this folder, is not built.
function(openmessaging_leave_out path missing)
  cmake_path(ABSOLUTE_PATH path NORMALIZE OUTPUT_VARIABLE folder)
  cmake_path(RELATIVE_PATH folder BASE_DIRECTORY "${PROJECT_SOURCE_DIR}")
  message(STATUS "${folder} is left out: ${missing} is not there")
  set_property(GLOBAL APPEND PROPERTY OPENMESSAGING_LEFT_OUT "${folder}")
endfunction()

# openmessaging_add_library(<name> [SOURCES <file>...] [HEADERS <file>...]
#                           [LIBS <target>...] [PRIVATE_LIBS <target>...]
#                           [PART <part>])
#
# Defines openmessaging_<name> and openmessaging::<name>: static, or an
# interface when it has no sources. HEADERS are below include/. LIBS are part
# of what its headers use. PART is where an installation has it,
# openmessaging_headers unless it is named (Install.cmake). Does nothing while
# both lists are empty.
function(openmessaging_add_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg
    "" "PART" "SOURCES;HEADERS;LIBS;PRIVATE_LIBS"
  )
  if(NOT arg_SOURCES AND NOT arg_HEADERS)
    return()
  endif()
  set(target openmessaging_${name})
  if(arg_SOURCES)
    set(scope PUBLIC)
    add_library(${target} STATIC ${arg_SOURCES})
    # Drivers and languages are loaded as shared objects.
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_include_directories(${target}
      PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/src"
    )
    target_link_libraries(${target} PRIVATE ${arg_PRIVATE_LIBS}
      $<BUILD_INTERFACE:openmessaging_warnings>
    )
  else()
    set(scope INTERFACE)
    add_library(${target} INTERFACE)
  endif()
  add_library(openmessaging::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_link_libraries(${target} ${scope} ${arg_LIBS})
  if(arg_HEADERS)
    target_sources(${target} ${scope}
      FILE_SET HEADERS BASE_DIRS include FILES ${arg_HEADERS}
    )
    openmessaging_verify_headers(${target})
  endif()
  if(NOT arg_PART)
    set(arg_PART openmessaging_headers)
  endif()
  openmessaging_install_library(${name} PART ${arg_PART})
endfunction()

# openmessaging_add_driver(NAME <name> REGISTER <file> SOURCES <file>...
#                          [HEADERS <file>...] [PRIVATE_LIBS <target>...])
#
# Defines openmessaging::<name>. REGISTER is the source whose static object
# adds the driver to the registry: nothing names it, so an archive would lose
# it. It travels as an object file instead, and linking is enough. Does nothing
# while SOURCES is empty.
function(openmessaging_add_driver)
  cmake_parse_arguments(PARSE_ARGV 0 arg
    "" "NAME;REGISTER" "SOURCES;HEADERS;PRIVATE_LIBS"
  )
  if(NOT arg_SOURCES)
    return()
  endif()
  openmessaging_add_library(${arg_NAME}
    SOURCES ${arg_SOURCES} HEADERS ${arg_HEADERS}
    LIBS openmessaging::api PRIVATE_LIBS ${arg_PRIVATE_LIBS}
    PART openmessaging_${arg_NAME}
  )
  set(target openmessaging_${arg_NAME})
  add_library(${target}_register OBJECT ${arg_REGISTER})
  set_target_properties(${target}_register
    PROPERTIES POSITION_INDEPENDENT_CODE ON
  )
  # Not linked to the library, which would depend on itself.
  target_include_directories(${target}_register PRIVATE
    $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>
  )
  target_link_libraries(${target}_register PRIVATE
    openmessaging::api ${arg_PRIVATE_LIBS} openmessaging_warnings
  )
  # Where it is installed, the package defines it.
  target_link_libraries(${target} INTERFACE
    $<BUILD_INTERFACE:$<TARGET_OBJECTS:${target}_register>>
    $<INSTALL_INTERFACE:$<TARGET_OBJECTS:openmessaging::${arg_NAME}_register>>
  )
  openmessaging_install_registration(${arg_NAME})
endfunction()

# openmessaging_add_driver_library(<name> SOURCES <file>... [LIBS <target>...]
#                                  [INCLUDES <folder>...])
#
# Builds lib/openmessaging/liboms_<name>.so, which programs load that do not link
# the driver. One of SOURCES says OPENMESSAGING_DRIVER_LIBRARY. With PART it is
# installed.
function(openmessaging_add_driver_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "PART" "SOURCES;LIBS;INCLUDES")
  set(target openmessaging_library_${name})
  add_library(${target} MODULE ${arg_SOURCES})
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME oms_${name} PREFIX lib SUFFIX .so
    LIBRARY_OUTPUT_DIRECTORY "${OPENMESSAGING_DRIVER_DIR}"
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
  )
  target_link_libraries(${target}
    PRIVATE openmessaging::api ${arg_LIBS} openmessaging_warnings
  )
  target_include_directories(${target} PRIVATE ${arg_INCLUDES})
  if(arg_PART AND OPENMESSAGING_INSTALL)
    install(TARGETS ${target} LIBRARY DESTINATION "${OPENMESSAGING_OWN_DIR}"
      COMPONENT ${arg_PART}
    )
  endif()
endfunction()

# openmessaging_add_program(<name> SOURCES <file>... [LIBS <target>...])
#
# Defines an executable that lands in bin/ of the build folder.
function(openmessaging_add_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBS} openmessaging_warnings
    $<TARGET_NAME_IF_EXISTS:openmessaging_tsan>
  )
endfunction()

# openmessaging_add_test(<name> SOURCES <file>... [LIBS <target>...]
#                        [INCLUDES <folder>...] [DEFINES <definition>...]
#                        [LABELS <label>...] [TIMEOUT <seconds>] [ALONE])
#
# Defines a doctest executable and one ctest entry of the same name, which runs
# all of its cases. With OPENMESSAGING_TEST_GROUPS the executable is that of
# the whole folder, but for a test that is to be ALONE, and the entry runs the
# cases of the first of SOURCES only. Each test has a namespace of its own name
# for that. The label `timing` is for tests that measure time: they run with no
# other test beside them. LIBS defaults to openmessaging::api.
function(openmessaging_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg
    "ALONE" "TIMEOUT" "SOURCES;LIBS;INCLUDES;DEFINES;LABELS"
  )
  if(NOT OPENMESSAGING_BUILD_TESTS)
    return()
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  set(program ${name})
  set(cases "")
  if(OPENMESSAGING_TEST_GROUPS AND NOT arg_ALONE)
    get_filename_component(folder "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
    set(program ${folder}_tests)
    list(GET arg_SOURCES 0 source)
    set(cases "--source-file=*/${source}")
  endif()
  if(NOT TARGET ${program})
    openmessaging_add_program(${program}
      LIBS openmessaging::api openmessaging_test_main
    )
    set_target_properties(${program} PROPERTIES
      UNITY_BUILD ${OPENMESSAGING_TEST_GROUPS}
      UNITY_BUILD_BATCH_SIZE 8
    )
    # Half the time to compile a test; a failure looks the same.
    target_compile_definitions(${program}
      PRIVATE DOCTEST_CONFIG_SUPER_FAST_ASSERTS
    )
  endif()
  # Sources that several tests share are named by each of them.
  target_sources(${program} PRIVATE ${arg_SOURCES})
  target_link_libraries(${program} PRIVATE ${arg_LIBS})
  target_include_directories(${program} PRIVATE ${arg_INCLUDES})
  if(arg_DEFINES)
    # For this source alone: they name folders, and a compiler cache would find
    # none of the others in another clone.
    list(GET arg_SOURCES 0 source)
    set_source_files_properties(${source} PROPERTIES
      COMPILE_DEFINITIONS "${arg_DEFINES}" SKIP_UNITY_BUILD_INCLUSION ON
    )
  endif()
  add_test(NAME ${name} COMMAND ${program} ${cases})
  set_tests_properties(${name} PROPERTIES
    TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}"
    # A filter that fits nothing is no success.
    FAIL_REGULAR_EXPRESSION "test cases: +0 "
  )
  if("timing" IN_LIST arg_LABELS)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()

# openmessaging_add_tests(<component> <path>... [<argument>...])
#
# One openmessaging_add_test for each <path>, all with the arguments behind the
# paths: tests/<path>_test.cc becomes <component>_<path>_test, a slash in it an
# underscore.
function(openmessaging_add_tests component)
  cmake_parse_arguments(PARSE_ARGV 1 arg
    "ALONE" "TIMEOUT" "SOURCES;LIBS;INCLUDES;DEFINES;LABELS"
  )
  set(arguments "")
  if(arg_ALONE)
    list(APPEND arguments ALONE)
  endif()
  foreach(word IN ITEMS LIBS INCLUDES DEFINES LABELS TIMEOUT)
    if(arg_${word})
      list(APPEND arguments ${word} ${arg_${word}})
    endif()
  endforeach()
  foreach(path IN LISTS arg_UNPARSED_ARGUMENTS)
    string(REPLACE "/" "_" name "${component}/${path}_test")
    openmessaging_add_test(${name}
      SOURCES tests/${path}_test.cc ${arg_SOURCES} ${arguments}
    )
  endforeach()
endfunction()

# openmessaging_add_fuzzers(<name>... [SOURCES <file>...] [LIBS <target>...]
#                           [INCLUDES <folder>...])
#
# With OPENMESSAGING_BUILD_FUZZERS, builds fuzz/<name>_fuzz.cc, with SOURCES,
# into the program fuzz_<name>, which conformance/fuzz runs.
function(openmessaging_add_fuzzers)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "SOURCES;LIBS;INCLUDES")
  if(NOT OPENMESSAGING_BUILD_FUZZERS)
    cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR
      BASE_DIRECTORY "${PROJECT_SOURCE_DIR}" OUTPUT_VARIABLE folder
    )
    set_property(GLOBAL APPEND PROPERTY OPENMESSAGING_LEFT_OUT "${folder}/fuzz")
    return()
  endif()
  foreach(name IN LISTS arg_UNPARSED_ARGUMENTS)
    openmessaging_add_program(fuzz_${name}
      SOURCES fuzz/${name}_fuzz.cc ${arg_SOURCES} LIBS ${arg_LIBS}
    )
    target_include_directories(fuzz_${name}
      PRIVATE "${PROJECT_SOURCE_DIR}/api/fuzz" ${arg_INCLUDES}
    )
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers fuzz_${name})
  endforeach()
endfunction()

# openmessaging_add_example(<name> [LIBS <target>...])
#
# Builds <name>/main.cc into the executable example_<name>, and runs it as a
# test in an empty folder: what it prints must equal
# <name>/expected_output.txt.
function(openmessaging_add_example name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBS")
  openmessaging_add_program(example_${name}
    SOURCES ${name}/main.cc LIBS openmessaging::api ${arg_LIBS}
  )
  if(NOT OPENMESSAGING_BUILD_TESTS)
    return()
  endif()
  add_test(NAME example_${name} COMMAND "${CMAKE_COMMAND}"
    "-DPROGRAM=$<TARGET_FILE:example_${name}>"
    "-DEXPECTED=${CMAKE_CURRENT_SOURCE_DIR}/${name}/expected_output.txt"
    "-DFOLDER=${CMAKE_CURRENT_BINARY_DIR}/run/${name}"
    -P "${PROJECT_SOURCE_DIR}/.cmake/RunExample.cmake"
  )
  set_tests_properties(example_${name} PROPERTIES
    TIMEOUT 60 LABELS example
  )
endfunction()
