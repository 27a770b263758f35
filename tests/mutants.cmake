# Seeded mistakes, and the checks that must find them: what the mutants.cmake of the folders here share.
#
# A check that has never failed is not yet a check. A mutant is a file, a text that stands in it exactly once, what takes
# its place, and the check that must fail. A text that is no longer found fails too: bring the mutant up to date.
#
# Who includes this is run by
#
#   cmake -DCOMPILER=c++ -DSOURCE=<project> -DWORK=<folder> [-DONLY=<regex>] -P mutants.cmake
#
# and sets MUTATED, the folders of the project that each mutant gets a copy of, and defines
#
#   try_mutant(COPY CHECK RESULT SAID)   builds the check against the project in the folder COPY and runs it; sets
#                                        RESULT to its exit code ("1" is a failed check; anything else isn't, a crash
#                                        or a timeout neither) and SAID to what it printed
#
# then calls begin_mutants(), mutant() for each, and end_mutants(), which fails when one survived.
cmake_minimum_required(VERSION 3.25)

set(MUTANTS 0)
set(SURVIVORS "")

function(begin_mutants)
  file(REMOVE_RECURSE ${WORK})
  file(MAKE_DIRECTORY ${WORK})
endfunction()

# compile(OUTPUT ARGUMENTS...): without assertions, which would find some mistakes by themselves.
function(compile output)
  execute_process(COMMAND ${COMPILER} -std=c++20 -DNDEBUG ${ARGN} -o ${output} RESULT_VARIABLE failed ERROR_VARIABLE errors)
  if(failed)
    message(FATAL_ERROR "${output} doesn't compile:\n${errors}")
  endif()
endfunction()

# mutant(NAME FILE CHECK OLD NEW)
function(mutant name file check old new)
  if(ONLY AND NOT name MATCHES "${ONLY}")
    return()
  endif()
  set(copy ${WORK}/${name})
  foreach(folder ${MUTATED})
    get_filename_component(parent ${copy}/${folder} DIRECTORY)
    file(COPY ${SOURCE}/${folder} DESTINATION ${parent})
  endforeach()
  file(READ ${copy}/${file} text)
  string(FIND "${text}" "${old}" first)
  string(FIND "${text}" "${old}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "${name}: not exactly once in ${file}:\n${old}")
  endif()
  string(REPLACE "${old}" "${new}" text "${text}")
  file(WRITE ${copy}/${file} "${text}")
  try_mutant(${copy} ${check} result said)
  string(STRIP "${said}" said)
  string(REGEX REPLACE "\n.*" "" said "${said}")
  if(result STREQUAL "1")
    message(STATUS "caught    ${name} by ${check}: ${said}")
  else()
    message(STATUS "SURVIVED  ${name}: ${check} ended with ${result}: ${said}")
    set(SURVIVORS ${SURVIVORS} ${name} PARENT_SCOPE)
  endif()
  math(EXPR count "${MUTANTS} + 1")
  set(MUTANTS ${count} PARENT_SCOPE)
endfunction()

function(end_mutants)
  if(SURVIVORS)
    message(FATAL_ERROR "mutants survived: ${SURVIVORS}")
  endif()
  message(STATUS "all ${MUTANTS} mutants were caught")
  file(REMOVE_RECURSE ${WORK})
endfunction()
