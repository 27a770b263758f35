# For mutants of the daemon (tests/mutants.cmake): only the file with the mistake is compiled, the rest is the build's:
# -DMAIN=<object of nimsyncd's main> -DLIBRARIES=<archives, with commas> -DBIN=<folder of the tests>. tests/CMakeLists.txt
# has the function that adds such a test.
include(${CMAKE_CURRENT_LIST_DIR}/mutants.cmake)

set(MUTATED daemon lib/os lib/state)
string(REPLACE "," ";" LIBRARIES "${LIBRARIES}")

# Makes ${copy}/nimsyncd. `file` is mutant()'s: the one with the mistake.
function(make_daemon copy)
  compile(${copy}/mutated.o -O0 -DSPDLOG_COMPILED_LIB -DSPDLOG_SHARED_LIB -DSPDLOG_FMT_EXTERNAL -I${SOURCE}
          -I${SOURCE}/lib -I${SOURCE}/include -c ${copy}/${file})
  compile(${copy}/nimsyncd ${copy}/mutated.o ${MAIN} ${LIBRARIES} -lspdlog -lfmt -lsystemd -pthread)
endfunction()

# Runs the tests of ${program} that match ${filter} against ${copy}/nimsyncd, with what else is to be in the environment;
# their exit code, and what the first that failed said.
function(judge_daemon copy program filter result said)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env NIMSYNCD=${copy}/nimsyncd ${ARGN}
                  ${BIN}/${program} --gtest_brief=1 --gtest_filter=${filter}
                  RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE errors TIMEOUT 120)
  string(REGEX REPLACE "^.*Failure\n(Failed\n)?" "" output "${output}")
  set(${result} "${code}" PARENT_SCOPE)
  set(${said} "${output}" PARENT_SCOPE)
endfunction()
