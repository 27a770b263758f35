# The libraries for the cross build, without packages of that architecture: all but GoogleTest are headers, the same for
# every processor, and GoogleTest's sources are a package too. The cross compiler gets a folder of links to what it
# needs of /usr/include, since the rest of that is this machine's.
set(AARCH64_HEADERS ${CMAKE_BINARY_DIR}/headers)
file(MAKE_DIRECTORY ${AARCH64_HEADERS})
foreach(library boost nlohmann CLI spdlog fmt)
  file(CREATE_LINK /usr/include/${library} ${AARCH64_HEADERS}/${library} SYMBOLIC)
endforeach()

# header_library(NAME DEFINITIONS...)
function(header_library name)
  if(NOT TARGET ${name})
    add_library(${name} INTERFACE IMPORTED GLOBAL)
    target_include_directories(${name} SYSTEM INTERFACE ${AARCH64_HEADERS})
    target_compile_definitions(${name} INTERFACE ${ARGN})
  endif()
endfunction()

function(googletest)
  if(TARGET aarch64_googletest)
    return()
  endif()
  set(source /usr/src/googletest)
  add_library(aarch64_googletest STATIC
    ${source}/googletest/src/gtest-all.cc ${source}/googlemock/src/gmock-all.cc ${source}/googletest/src/gtest_main.cc)
  target_include_directories(aarch64_googletest SYSTEM
    PUBLIC ${source}/googletest/include ${source}/googlemock/include
    PRIVATE ${source}/googletest ${source}/googlemock)
  target_link_libraries(aarch64_googletest PUBLIC Threads::Threads)
  foreach(part gtest gmock gtest_main)
    add_library(GTest::${part} ALIAS aarch64_googletest)
  endforeach()
endfunction()

macro(aarch64_package method name)
  if("${name}" STREQUAL Boost)
    header_library(Boost::headers)
    header_library(Boost::context)  # compiled for this machine alone: what needs it (the model) is not built
    set(Boost_FOUND TRUE)
  elseif("${name}" STREQUAL nlohmann_json)
    header_library(nlohmann_json::nlohmann_json)
    set(nlohmann_json_FOUND TRUE)
  elseif("${name}" STREQUAL spdlog)
    header_library(spdlog::spdlog SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY)
    set(spdlog_FOUND TRUE)
  elseif("${name}" STREQUAL CLI11)
    header_library(CLI11::CLI11)
    set(CLI11_FOUND TRUE)
  elseif("${name}" STREQUAL GTest)
    googletest()
    set(GTest_FOUND TRUE)
  endif()
endmacro()
cmake_language(SET_DEPENDENCY_PROVIDER aarch64_package SUPPORTED_METHODS FIND_PACKAGE)
