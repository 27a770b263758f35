# The soak with one seeded mistake each (tests/mutants.cmake): in a ring, in what attaches and sleeps, and in the peers,
# which shows that the judge isn't blind. The check is the layout that is soaked.
#
# Besides: -DOBJECTS=<the objects of the soak but the peers'> -DLIBRARIES=<what they link>
#
# A lost wake-up is a hang, so the patience is short here. The soak is blind to what takes a death within a few
# instructions, or a successor within a few microseconds (who attaches without a ring survives it): the crash matrix and
# the model checker find those.
include(${CMAKE_CURRENT_LIST_DIR}/../mutants.cmake)

set(MUTATED include/nimsync lib/client lib/os tests/soak)

function(try_mutant copy check result said)
  compile(${copy}/soak -O1 -I${copy}/include -I${copy}/lib -I${copy} -I${SOURCE} -I${SOURCE}/lib
    ${copy}/tests/soak/peers.cpp ${copy}/lib/client/endpoint.cpp ${OBJECTS} ${LIBRARIES} -pthread)
  execute_process(COMMAND ${copy}/soak 1000 --layout ${check} --patience 4
    RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE errors TIMEOUT 120)
  string(REGEX REPLACE "^seed [0-9]+\n" "" output "${errors}${output}")
  set(${result} "${code}" PARENT_SCOPE)
  set(${said} "${output}" PARENT_SCOPE)
endfunction()

begin_mutants()

set(ENDPOINT lib/client/endpoint.cpp)
set(SLEEP include/nimsync/sleep.hpp)
set(FRAMED include/nimsync/framed_ring.hpp)
set(DENSE include/nimsync/dense_ring.hpp)
set(STAMPED include/nimsync/stamped_ring.hpp)
set(PEERS tests/soak/peers.cpp)

mutant(a_successor_believes_the_hint ${ENDPOINT} stamped
"    const auto tail = find_tail<Native>(memory, mark & layout::kPositionMask);
    if (!tail ||"
"    const std::optional<std::uint64_t> tail = mark & layout::kPositionMask;
    if (!tail ||")

mutant(a_successor_skips_what_was_peeked ${ENDPOINT} dense
"    resume = {.position = head, .stream = streams_received};"
"    const auto peeked = head + (memory.forward_header()->common.position & layout::kPositionMask) > 2 * head ? 1 : 0;
    resume = {.position = head + peeked, .stream = streams_received};")

mutant(the_sleep_epoch_begins_anew ${SLEEP} stamped
"    epoch_ = layout::round_up(Policy::load_relaxed(&own_->sleep_epoch), 2);"
"    epoch_ = 0;")

mutant(a_loss_that_was_told_is_not_counted ${SLEEP} stamped
"  void count_loss() noexcept { Policy::store_release(&own_->losses, Policy::load_relaxed(&own_->losses) + 1); }"
"  void count_loss() noexcept {}")

mutant(a_loss_is_never_told ${SLEEP} framed
"    return attached > accounted;"
"    return attached > accounted + 1000000;")

mutant(the_word_behind_a_frame_is_not_zeroed ${FRAMED} framed
"    Policy::store_relaxed(word_at(next), 0);"
"    static_cast<void>(word_at(next));")

mutant(the_payload_is_stored_after_the_commit ${FRAMED} framed
"    Policy::template copy<0>(at(state_.position) + layout::kFrameWord, message.data(), message.size());
    publish(message.size());
"
"    std::byte* const place = at(state_.position) + layout::kFrameWord;
    publish(message.size());
    Policy::template copy<0>(place, message.data(), message.size());
")

mutant(the_judge_releases_what_it_has_not_used ${PEERS} dense
"          judge(message);
          pause_sometimes(random_);  // used and not released: what a successor sees again
          rx.release();"
"          rx.release();
          pause_sometimes(random_);
          judge(message);")

mutant(the_sender_takes_what_it_began_for_sent ${PEERS} stamped
"    for (next_ = sent; messages_.position(next_) != info.sent; ++next_) {"
"    for (next_ = begun; false; ++next_) {")

end_mutants()
