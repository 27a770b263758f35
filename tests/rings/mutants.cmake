# Compiles the checks against copies of the rings with one seeded mistake each, and fails if a check passes there.
#
#   cmake -DCOMPILER=c++ -DSOURCE=<project> -DWORK=<folder> -P mutants.cmake
#
# A check that has never failed is not yet a check. A mutant is a header, a text that stands in it exactly once, what
# takes its place, and the check that must fail. A text that is no longer found fails too: bring the mutant up to date.
#
# Weakened memory orders are not among them: on x86 they change nothing that these checks see. ThreadSanitizer finds some
# (the TwoThreads tests in its build), a model checker all.
cmake_minimum_required(VERSION 3.25)

set(MUTANTS 0)
set(SURVIVORS "")

function(build name include)
  execute_process(
    COMMAND ${COMPILER} -std=c++20 -O0 -DNDEBUG -I${include} -I${SOURCE} ${SOURCE}/tests/rings/mutants.cpp -o ${WORK}/${name}
    RESULT_VARIABLE failed ERROR_VARIABLE errors)
  if(failed)
    message(FATAL_ERROR "${name} doesn't compile:\n${errors}")
  endif()
endfunction()

# mutant(NAME HEADER CHECK OLD NEW)
function(mutant name header check old new)
  set(include ${WORK}/${name}.include)
  file(COPY ${SOURCE}/include/nimsync DESTINATION ${include})
  file(READ ${include}/nimsync/${header} text)
  string(FIND "${text}" "${old}" first)
  string(FIND "${text}" "${old}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "${name}: not exactly once in ${header}:\n${old}")
  endif()
  string(REPLACE "${old}" "${new}" text "${text}")
  file(WRITE ${include}/nimsync/${header} "${text}")
  build(${name} ${include})
  execute_process(COMMAND ${WORK}/${name} ${check} RESULT_VARIABLE result OUTPUT_VARIABLE said TIMEOUT 60)
  string(STRIP "${said}" said)
  if(result STREQUAL "1")
    message(STATUS "caught    ${name} by ${check}: ${said}")
  else()
    message(STATUS "SURVIVED  ${name}: ${check} ended with ${result}")
    set(SURVIVORS ${SURVIVORS} ${name} PARENT_SCOPE)
  endif()
  math(EXPR count "${MUTANTS} + 1")
  set(MUTANTS ${count} PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})

# The rings as they are pass every check.
build(unchanged ${SOURCE}/include)
foreach(check crashes interleavings walks streams corruption hostility misuse)
  execute_process(COMMAND ${WORK}/unchanged ${check} RESULT_VARIABLE result OUTPUT_VARIABLE said TIMEOUT 60)
  if(NOT result STREQUAL "0")
    message(FATAL_ERROR "the rings fail ${check} without a mutant: ${result} ${said}")
  endif()
endforeach()

mutant(the_stamp_is_stored_before_the_payload stamped_ring.hpp crashes
"    Policy::template copy<Size>(slot, record, record_size());
    publish(slot);
"
"    publish(slot);
    Policy::template copy<Size>(slot, record, record_size());
")

mutant(the_tail_is_stored_before_the_payload dense_ring.hpp crashes
"    Policy::template copy<0>(next(), records, first);
    Policy::template copy<0>(state_.ring, records + first, fit * record_size() - first);
    publish_some(fit);
"
"    std::byte* const place = next();
    publish_some(fit);
    Policy::template copy<0>(place, records, first);
    Policy::template copy<0>(state_.ring, records + first, fit * record_size() - first);
")

mutant(the_frame_is_committed_before_the_payload framed_ring.hpp crashes
"    Policy::template copy<0>(at(state_.position) + layout::kFrameWord, message.data(), message.size());
    publish(message.size());
"
"    std::byte* const place = at(state_.position) + layout::kFrameWord;
    publish(message.size());
    Policy::template copy<0>(place, message.data(), message.size());
")

mutant(the_slot_is_freed_before_it_is_copied_out stamped_ring.hpp interleavings
"    Policy::template copy<Size>(record, slot, record_size());
    free_one();
"
"    free_one();
    Policy::template copy<Size>(record, slot, record_size());
")

mutant(the_hint_is_never_stored stamped_ring.hpp crashes
"    if ((state_.position & last) == 0) this->store_position();
"
"")

mutant(the_hint_of_frames_is_never_stored framed_ring.hpp crashes
"    if (state_.frames == layout::kHintEvery || next - state_.hint > (state_.mask + 1) / 2) {"
"    if (false) {")

mutant(the_hint_of_frames_is_lapped framed_ring.hpp walks
"    if (state_.frames == layout::kHintEvery || next - state_.hint > (state_.mask + 1) / 2) {"
"    if (state_.frames == layout::kHintEvery) {")

mutant(the_word_behind_a_frame_is_not_zeroed framed_ring.hpp walks
"    Policy::store_relaxed(word_at(next), 0);"
"    static_cast<void>(word_at(next));")

mutant(the_word_behind_a_frame_is_zeroed_after_the_commit framed_ring.hpp crashes
"    Policy::store_relaxed(word_at(next), 0);  // no frame behind this one; ordered by the commit
    Policy::store_release(word_at(state_.position),
                          layout::frame_word(length, state_.stream));  // SYNC: payload visible
"
"    Policy::store_release(word_at(state_.position), layout::frame_word(length, state_.stream));
    Policy::store_relaxed(word_at(next), 0);
")

mutant(a_stream_is_counted_before_its_end ring.hpp crashes
"    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);  // SYNC: end of stream visible
"
"    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);
    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
")

mutant(an_impossible_head_is_believed ring.hpp corruption
"    if (used > capacity) return {state_.position, Status::corrupted};"
"")

mutant(the_length_of_a_frame_is_believed framed_ring.hpp hostility
"    if (length > state_.size) return {0, Status::corrupted};"
"")

mutant(an_impossible_tail_is_believed dense_ring.hpp hostility
"    if (ahead - 1 <= state_.mask) [[likely]]"
"    if (ahead != 0)")

mutant(an_impossible_tail_of_a_later_stream_is_believed dense_ring.hpp hostility
"    if (ahead > capacity || layout::is_of_stream(mark, stream)) return {position, Status::corrupted};"
"    if (layout::is_of_stream(mark, stream)) return {position, Status::corrupted};")

mutant(the_limit_passes_the_room stamped_ring.hpp walks
"    state_.limit = std::min(state_.room, (state_.position | last) + 1);"
"    state_.limit = (state_.position | last) + 1;")

mutant(an_impossible_stamp_is_believed stamped_ring.hpp corruption
"    if (!later_stream && !layout::is_stamp_before(stamp, position, capacity)) return Status::corrupted;"
"")

mutant(the_stream_of_a_stamp_is_ignored stamped_ring.hpp streams
"    if (stamp != state_.position + 1 + state_.tag) [[unlikely]] {"
"    if (layout::distance(stamp, state_.position + 1 + state_.tag) != 0) [[unlikely]] {")

mutant(the_stream_of_a_tail_is_ignored dense_ring.hpp streams
"    const std::uint64_t ahead = mark - (state_.position + state_.tag);  // while the tail is of this stream"
"    const std::uint64_t ahead = layout::distance(state_.position, mark);")

mutant(the_stream_of_a_frame_is_ignored framed_ring.hpp streams
"    if (layout::is_of_stream(word, state_.stream)) [[likely]]"
"    if (true)")

mutant(a_commit_is_not_cut_to_the_room dense_ring.hpp misuse
"publish_some(std::min<std::uint64_t>(count, room));"
"publish_some(count);")

mutant(frames_leave_no_room_for_the_word_behind framed_ring.hpp walks
"return layout::frame_bytes(bytes) + layout::kFrameWord; }"
"return layout::frame_bytes(bytes); }")

if(SURVIVORS)
  message(FATAL_ERROR "mutants survived: ${SURVIVORS}")
endif()
message(STATUS "all ${MUTANTS} mutants were caught")
file(REMOVE_RECURSE ${WORK})
