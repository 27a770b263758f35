# The rings with one seeded mistake each (tests/mutants.cmake); the checks are those of this folder's tests, over fewer
# rings.
#
# Weakened memory orders are not among them: on x86 they change nothing that these checks see. ThreadSanitizer finds some
# (the TwoThreads tests in its build), the model checker all (tests/model/mutants.cmake).
include(${CMAKE_CURRENT_LIST_DIR}/../mutants.cmake)

set(MUTATED include/nimsync)

function(try_mutant copy check result said)
  compile(${copy}/mutants -O0 -I${copy}/include -I${SOURCE} ${SOURCE}/tests/rings/mutants.cpp)
  execute_process(COMMAND ${copy}/mutants ${check} RESULT_VARIABLE code OUTPUT_VARIABLE output TIMEOUT 60)
  set(${result} "${code}" PARENT_SCOPE)
  set(${said} "${output}" PARENT_SCOPE)
endfunction()

begin_mutants()

# The rings as they are pass every check.
compile(${WORK}/unchanged -O0 -I${SOURCE}/include -I${SOURCE} ${SOURCE}/tests/rings/mutants.cpp)
foreach(check crashes interleavings walks streams corruption hostility misuse)
  execute_process(COMMAND ${WORK}/unchanged ${check} RESULT_VARIABLE result OUTPUT_VARIABLE said TIMEOUT 60)
  if(NOT result STREQUAL "0")
    message(FATAL_ERROR "the rings fail ${check} without a mutant: ${result} ${said}")
  endif()
endforeach()

set(STAMPED include/nimsync/stamped_ring.hpp)
set(DENSE include/nimsync/dense_ring.hpp)
set(FRAMED include/nimsync/framed_ring.hpp)
set(RING include/nimsync/ring.hpp)

mutant(the_stamp_is_stored_before_the_payload ${STAMPED} crashes
"    Policy::template copy<Size>(slot, record, record_size());
    publish(slot);
"
"    publish(slot);
    Policy::template copy<Size>(slot, record, record_size());
")

mutant(the_tail_is_stored_before_the_payload ${DENSE} crashes
"    Policy::template copy<0>(next(), records, first);
    Policy::template copy<0>(state_.ring, records + first, fit * record_size() - first);
    publish_some(fit);
"
"    std::byte* const place = next();
    publish_some(fit);
    Policy::template copy<0>(place, records, first);
    Policy::template copy<0>(state_.ring, records + first, fit * record_size() - first);
")

mutant(the_frame_is_committed_before_the_payload ${FRAMED} crashes
"    Policy::template copy<0>(at(state_.position) + layout::kFrameWord, message.data(), message.size());
    publish(message.size());
"
"    std::byte* const place = at(state_.position) + layout::kFrameWord;
    publish(message.size());
    Policy::template copy<0>(place, message.data(), message.size());
")

mutant(the_slot_is_freed_before_it_is_copied_out ${STAMPED} interleavings
"    Policy::template copy<Size>(record, slot, record_size());
    free_one();
"
"    free_one();
    Policy::template copy<Size>(record, slot, record_size());
")

mutant(the_hint_is_never_stored ${STAMPED} crashes
"    if ((state_.position & last) == 0) this->store_position();
"
"")

mutant(the_hint_of_frames_is_never_stored ${FRAMED} crashes
"    if (state_.frames == layout::kHintEvery || next - state_.hint > (state_.mask + 1) / 2) {"
"    if (false) {")

mutant(the_hint_of_frames_is_lapped ${FRAMED} walks
"    if (state_.frames == layout::kHintEvery || next - state_.hint > (state_.mask + 1) / 2) {"
"    if (state_.frames == layout::kHintEvery) {")

mutant(the_word_behind_a_frame_is_not_zeroed ${FRAMED} walks
"    Policy::store_relaxed(word_at(next), 0);"
"    static_cast<void>(word_at(next));")

mutant(the_word_behind_a_frame_is_zeroed_after_the_commit ${FRAMED} crashes
"    Policy::store_relaxed(word_at(next), 0);  // no frame behind this one; ordered by the commit
    Policy::store_release(word_at(state_.position),
                          layout::frame_word(length, state_.stream));  // SYNC: payload visible
"
"    Policy::store_release(word_at(state_.position), layout::frame_word(length, state_.stream));
    Policy::store_relaxed(word_at(next), 0);
")

mutant(a_stream_is_counted_before_its_end ${RING} crashes
"    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);  // SYNC: end of stream visible
"
"    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);
    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
")

mutant(an_impossible_head_is_believed ${RING} corruption
"    if (used > capacity) return {state_.position, Status::corrupted};"
"")

mutant(the_length_of_a_frame_is_believed ${FRAMED} hostility
"    if (length > state_.size) return {0, Status::corrupted};"
"")

mutant(an_impossible_tail_is_believed ${DENSE} hostility
"    if (ahead - 1 <= state_.mask) [[likely]]"
"    if (ahead != 0)")

mutant(an_impossible_tail_of_a_later_stream_is_believed ${DENSE} hostility
"    if (ahead > capacity || layout::is_of_stream(mark, stream)) return {position, Status::corrupted};"
"    if (layout::is_of_stream(mark, stream)) return {position, Status::corrupted};")

mutant(the_limit_passes_the_room ${STAMPED} walks
"    state_.limit = std::min(state_.room, (state_.position | last) + 1);"
"    state_.limit = (state_.position | last) + 1;")

mutant(an_impossible_stamp_is_believed ${STAMPED} corruption
"    if (!later_stream && !layout::is_stamp_before(stamp, position, capacity)) return Status::corrupted;"
"")

mutant(the_stream_of_a_stamp_is_ignored ${STAMPED} streams
"    if (stamp != state_.position + 1 + state_.tag) [[unlikely]] {"
"    if (layout::distance(stamp, state_.position + 1 + state_.tag) != 0) [[unlikely]] {")

mutant(the_stream_of_a_tail_is_ignored ${DENSE} streams
"    const std::uint64_t ahead = mark - (state_.position + state_.tag);  // while the tail is of this stream"
"    const std::uint64_t ahead = layout::distance(state_.position, mark);")

mutant(the_stream_of_a_frame_is_ignored ${FRAMED} streams
"    if (layout::is_of_stream(word, state_.stream)) [[likely]]"
"    if (true)")

mutant(a_commit_is_not_cut_to_the_room ${DENSE} misuse
"publish_some(std::min<std::uint64_t>(count, room));"
"publish_some(count);")

mutant(frames_leave_no_room_for_the_word_behind ${FRAMED} walks
"return layout::frame_bytes(bytes) + layout::kFrameWord; }"
"return layout::frame_bytes(bytes); }")

end_mutants()
