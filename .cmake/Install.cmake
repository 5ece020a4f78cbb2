# SPDX-License-Identifier: Apache-2.0
#
# What `cmake --install` puts down: the CMake package openmessaging, one
# component for each library, and a pkg-config file for each of those that a
# plain compiler call can use. Nothing that is installed knows where it was
# built or installed: the whole may be moved.
#
# Parts for `cmake --install --component`: openmessaging_headers (the contract
# and the package itself), openmessaging_kit, which every driver needs too,
# openmessaging_<driver>, openmessaging_tools.

include_guard(GLOBAL)
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(OPENMESSAGING_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/openmessaging")
# What belongs to this package alone, such as the object files that register
# drivers.
set(OPENMESSAGING_OWN_DIR "${CMAKE_INSTALL_LIBDIR}/openmessaging")

# openmessaging_install_library(<name> PART <part>)
#
# Installs openmessaging_<name>, its headers too, as component <name> of the
# package. PART is whom `cmake --install --component` gives it to.
function(openmessaging_install_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "PART" "")
  if(NOT OPENMESSAGING_INSTALL)
    return()
  endif()
  install(TARGETS openmessaging_${name} EXPORT openmessaging_${name}
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT ${arg_PART}
    FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
      COMPONENT ${arg_PART}
  )
  install(EXPORT openmessaging_${name}
    FILE openmessaging-${name}-targets.cmake NAMESPACE openmessaging::
    DESTINATION "${OPENMESSAGING_PACKAGE_DIR}" COMPONENT ${arg_PART}
  )
endfunction()

# Installs the object file that registers driver `name` under a name that the
# package and pkg-config can both give.
function(openmessaging_install_registration name)
  if(OPENMESSAGING_INSTALL)
    install(FILES $<TARGET_OBJECTS:openmessaging_${name}_register>
      DESTINATION "${OPENMESSAGING_OWN_DIR}" RENAME ${name}_register.o
      COMPONENT openmessaging_${name}
    )
  endif()
endfunction()

# Installs a program of this project.
function(openmessaging_install_program target)
  if(OPENMESSAGING_INSTALL)
    install(TARGETS ${target}
      RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
      COMPONENT openmessaging_tools
    )
  endif()
endfunction()

# Installs <name>.pc, made of .cmake/<name>.pc.in. Its folders are relative to
# its own, unless a packager gave an absolute one.
function(openmessaging_install_pkg_config name part)
  set(folder "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
  file(RELATIVE_PATH up "/root/${folder}" "/root")
  if(IS_ABSOLUTE "${folder}")
    set(OPENMESSAGING_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
  else()
    string(REGEX REPLACE "/$" "" up "${up}")
    set(OPENMESSAGING_PC_PREFIX "\${pcfiledir}/${up}")
  endif()
  foreach(kind IN ITEMS LIBDIR INCLUDEDIR)
    set(OPENMESSAGING_PC_${kind} "${CMAKE_INSTALL_${kind}}")
    if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_${kind}}")
      string(PREPEND OPENMESSAGING_PC_${kind} "\${prefix}/")
    endif()
  endforeach()
  configure_file("${PROJECT_SOURCE_DIR}/.cmake/${name}.pc.in" ${name}.pc @ONLY)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/${name}.pc"
    DESTINATION "${folder}" COMPONENT ${part}
  )
endfunction()

# Installs the package's own files. Call it once, when all libraries are known.
function(openmessaging_install_package)
  if(NOT OPENMESSAGING_INSTALL)
    return()
  endif()
  configure_package_config_file(
    "${PROJECT_SOURCE_DIR}/.cmake/openmessaging-config.cmake.in"
    openmessaging-config.cmake
    INSTALL_DESTINATION "${OPENMESSAGING_PACKAGE_DIR}"
    PATH_VARS OPENMESSAGING_OWN_DIR
  )
  # Before 1.0 a minor version may break source code.
  write_basic_package_version_file(
    "${CMAKE_CURRENT_BINARY_DIR}/openmessaging-config-version.cmake"
    COMPATIBILITY SameMinorVersion
  )
  install(
    FILES
      "${CMAKE_CURRENT_BINARY_DIR}/openmessaging-config.cmake"
      "${CMAKE_CURRENT_BINARY_DIR}/openmessaging-config-version.cmake"
    DESTINATION "${OPENMESSAGING_PACKAGE_DIR}"
    COMPONENT openmessaging_headers
  )
  install(FILES "${PROJECT_SOURCE_DIR}/LICENSE"
    DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT openmessaging_headers
  )
  openmessaging_install_pkg_config(openmessaging openmessaging_headers)
  if(TARGET openmessaging_reference)
    openmessaging_install_pkg_config(openmessaging-reference
      openmessaging_reference
    )
  endif()
endfunction()
