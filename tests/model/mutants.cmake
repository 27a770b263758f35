# The model's scenarios against the headers with one seeded mistake each (tests/mutants.cmake). Here are the mistakes that
# no test on real processors finds by running it often: weakened orders, missing barriers, wake-ups that are lost once
# in a million times. Where an order is the caller's or the registry's, the file is the model's own (tests/model/).
include(${CMAKE_CURRENT_LIST_DIR}/../mutants.cmake)

set(MUTATED include/nimsync tests/model)

function(try_mutant copy scenario result said)
  compile(${copy}/model -I${copy}/include -I${copy} ${copy}/tests/model/scenarios.cpp ${WORK}/world.o -lboost_context)
  execute_process(COMMAND ${copy}/model ${scenario} RESULT_VARIABLE code OUTPUT_VARIABLE output TIMEOUT 120)
  set(${result} "${code}" PARENT_SCOPE)
  set(${said} "${output}" PARENT_SCOPE)
endfunction()

begin_mutants()
compile(${WORK}/world.o -O3 -I${SOURCE}/include -I${SOURCE} -c ${SOURCE}/tests/model/world.cpp)

set(STAMPED include/nimsync/stamped_ring.hpp)
set(DENSE include/nimsync/dense_ring.hpp)
set(FRAMED include/nimsync/framed_ring.hpp)
set(RING include/nimsync/ring.hpp)
set(SLEEP include/nimsync/sleep.hpp)

# ---- The rings: each order weakened, each pair swapped.

mutant(a_stamp_is_stored_relaxed ${STAMPED} stamped_ring
"    Policy::store_release(Slots::stamp(slot, state_.size), next + state_.tag);"
"    Policy::store_relaxed(Slots::stamp(slot, state_.size), next + state_.tag);")
mutant(a_stamp_is_loaded_relaxed ${STAMPED} stamped_ring
"= Policy::load_acquire(Slots::stamp(slot, state_.size));"
"= Policy::load_relaxed(Slots::stamp(slot, state_.size));")
mutant(a_stamp_is_stored_before_the_payload ${STAMPED} stamped_ring
"    Policy::template copy<Size>(slot, record, record_size());
    publish(slot);
"
"    publish(slot);
    Policy::template copy<Size>(slot, record, record_size());
")
mutant(a_slot_is_freed_before_it_is_copied_out ${STAMPED} stamped_ring
"    Policy::template copy<Size>(record, slot, record_size());
    free_one();
"
"    free_one();
    Policy::template copy<Size>(record, slot, record_size());
")
mutant(a_hint_is_never_stored ${STAMPED} stamped_ring_deaths
"    if ((state_.position & last) == 0) this->store_position();
"
"")
mutant(a_tail_is_stored_relaxed ${RING} dense_ring
"    Policy::store_release(&state_.forward->common.position, state_.position + state_.tag);"
"    Policy::store_relaxed(&state_.forward->common.position, state_.position + state_.tag);")
mutant(a_tail_is_loaded_relaxed ${DENSE} dense_ring
"const std::uint64_t mark = Policy::load_acquire(&state_.forward->common.position);"
"const std::uint64_t mark = Policy::load_relaxed(&state_.forward->common.position);")
mutant(a_frame_is_stored_relaxed ${FRAMED} framed_ring
"    Policy::store_release(word_at(state_.position),"
"    Policy::store_relaxed(word_at(state_.position),")
mutant(a_frame_is_loaded_relaxed ${FRAMED} framed_ring
"const std::uint64_t word = Policy::load_acquire(at_head);"
"const std::uint64_t word = Policy::load_relaxed(at_head);")
mutant(the_word_behind_a_frame_is_not_zeroed ${FRAMED} framed_ring
"    Policy::store_relaxed(word_at(next), 0);"
"    ")
mutant(the_word_behind_a_frame_is_zeroed_after_the_commit ${FRAMED} framed_ring
"    Policy::store_relaxed(word_at(next), 0);  // no frame behind this one; ordered by the commit
    Policy::store_release(word_at(state_.position),
                          layout::frame_word(length, state_.stream));  // SYNC: payload visible
"
"    Policy::store_release(word_at(state_.position), layout::frame_word(length, state_.stream));
    Policy::store_relaxed(word_at(next), 0);
")
mutant(a_head_is_stored_relaxed ${RING} dense_ring
"    Policy::store_release(&state_.back->position, position);"
"    Policy::store_relaxed(&state_.back->position, position);")
mutant(a_head_is_loaded_relaxed ${RING} dense_ring
"const std::uint64_t head = Policy::load_acquire(&state_.back->position);"
"const std::uint64_t head = Policy::load_relaxed(&state_.back->position);")
mutant(an_end_is_stored_relaxed ${RING} stamped_ring
"    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);"
"    Policy::store_relaxed(&state_.forward->common.streams, state_.stream + 1);")
mutant(an_end_is_loaded_relaxed ${RING} stamped_ring
"const std::uint64_t streams = Policy::load_acquire(&forward->common.streams);"
"const std::uint64_t streams = Policy::load_relaxed(&forward->common.streams);")
mutant(a_stream_is_counted_before_its_end ${RING} stamped_ring
"    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);  // SYNC: end of stream visible
"
"    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);
    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
")
mutant(a_stream_has_ended_before_its_messages_are_taken ${RING} stamped_ring
"  if (end == position) return Status::closed;"
"  if (end >= position) return Status::closed;")

# ---- To sleep.

mutant(no_membarrier ${SLEEP} dense_sleep
"    if (kernel_.membarrier()) return true;"
"    if (can_sleep()) return true;")
mutant(the_membarrier_comes_before_the_announcement ${SLEEP} dense_sleep
"    if (!prepare()) return false;
    if (kernel_.membarrier()) return true;"
"    if (kernel_.membarrier() && prepare()) return true;")
mutant(no_second_look ${SLEEP} dense_sleep
"    if (!is_announced()) return announce() ? Step::look : Step::unable;"
"    if (!is_announced() && !announce()) return Step::unable;")
# A line may be drained until the membarrier and the second look follow; after them, what is drained is lost.
mutant(the_line_is_drained_after_the_second_look ${SLEEP} dense_sleep
"    if (!news.rung) return Step::sleep;
    rise();
    return Step::look;"
"    return Step::sleep;")
mutant(the_epoch_stays_odd_after_a_sleep ${SLEEP} dense_sleep
"    if (!is_announced()) return;
    ++epoch_;"
"    if (is_announced()) return;
    ++epoch_;")
mutant(an_armed_endpoint_is_not_announced_anew ${SLEEP} arming_receiver
"    epoch_ += is_announced() ? 2U : 1U;"
"    epoch_ += is_announced() ? 0U : 1U;")
mutant(an_armed_endpoint_rises_instead ${SLEEP} arming_receiver
"    epoch_ += is_announced() ? 2U : 1U;"
"    epoch_ += 1U;")
mutant(an_armed_endpoint_asks_for_no_membarrier tests/model/process.hpp arming_receiver
"      world().membarrier();
"
"")

# ---- To wake.

mutant(nobody_is_rung ${RING} dense_sleep
"  return epoch != state.rung;"
"  return false;")
mutant(a_peer_is_rung_once_for_all ${SLEEP} dense_sleep
"    if ((epoch & 1) == 0 || epoch == rung || epoch == kAlwaysOdd) return rung;"
"    if ((epoch & 1) == 0 || rung != 0) return rung;")
mutant(a_peer_is_rung_only_for_the_epoch_that_was_rung ${SLEEP} dense_sleep
"    if ((epoch & 1) == 0 || epoch == rung || epoch == kAlwaysOdd) return rung;"
"    if ((epoch & 1) == 0 || epoch != rung) return rung;")
mutant(a_peer_is_rung_while_it_is_awake ${RING} dense_sleep
"  if ((epoch & 1) == 0) [[likely]]"
"  if ((epoch & 1) != 0) [[likely]]")
mutant(the_epoch_is_remembered_before_it_is_rung_for ${SLEEP} dense_sleep
"    if ((epoch & 1) == 0 || epoch == rung || epoch == kAlwaysOdd) return rung;"
"    if ((epoch & 1) == 0 || epoch == rung) return epoch + 1;")
mutant(an_endpoint_without_membarriers_does_not_fence ${SLEEP} fencing_sender
"    if (barrier_ == layout::Barrier::fence) Policy::fence();
"
"")
mutant(an_endpoint_without_membarriers_looks_before_it_fences ${SLEEP} fencing_sender
"    return barrier_ == layout::Barrier::fence ? &kAlwaysOdd : nullptr;"
"    return nullptr;")
mutant(a_close_rings_nobody tests/model/scenarios.cpp closing
"  typename Kind::template Sender<SendState&>(state).close();
  bell.publish(state);
"
"  typename Kind::template Sender<SendState&>(state).close();
")

# ---- To attach, to succeed, to lose a peer.

mutant(a_successor_resets_the_epoch ${SLEEP} sleeping_sender_dies
"    epoch_ = layout::round_up(Policy::load_relaxed(&own_->sleep_epoch), 2);"
"    epoch_ = 0;")
mutant(a_successor_leaves_the_epoch_odd ${SLEEP} sleeping_sender_dies
"    epoch_ = layout::round_up(Policy::load_relaxed(&own_->sleep_epoch), 2);"
"    epoch_ = Policy::load_relaxed(&own_->sleep_epoch);")
mutant(a_successor_uses_the_last_epoch_again ${SLEEP} sleeping_sender_dies
"    epoch_ = layout::round_up(Policy::load_relaxed(&own_->sleep_epoch), 2);"
"    epoch_ = Policy::load_relaxed(&own_->sleep_epoch) / 2 * 2;")
mutant(no_ring_after_attaching ${SLEEP} quick_sender
"  // SYNC: attached
    kernel_.ring();
"
"  // SYNC: attached
")
mutant(a_ring_before_attaching ${SLEEP} quick_sender
"    Policy::store_release(&own_->attached, Policy::load_relaxed(&own_->attached) + 1);  // SYNC: attached
    kernel_.ring();
"
"    kernel_.ring();
    Policy::store_release(&own_->attached, Policy::load_relaxed(&own_->attached) + 1);
")
mutant(an_attach_is_stored_relaxed ${SLEEP} attaching
"    Policy::store_release(&own_->attached, Policy::load_relaxed(&own_->attached) + 1);"
"    Policy::store_relaxed(&own_->attached, Policy::load_relaxed(&own_->attached) + 1);")
mutant(an_attach_is_loaded_relaxed_by_who_sleeps ${SLEEP} attaching
"    return Policy::load_acquire(&peer_->attached) == 0 ||"
"    return Policy::load_relaxed(&peer_->attached) == 0 ||")
mutant(a_hang_up_is_forgotten ${SLEEP} quick_sender
"(dead ? 0 : 1)"
"1")
mutant(who_lives_is_asked_before_who_attached ${SLEEP} attaching
"    const std::uint64_t attached = Policy::load_acquire(&peer_->attached);  // SYNC: attached
    const LineNews news = kernel_.drain();
"
"    const LineNews news = kernel_.drain();
    const std::uint64_t attached = Policy::load_acquire(&peer_->attached);
")
mutant(an_attaching_endpoint_asks_who_lives_before_who_attached ${SLEEP} attaching_receiver_dies
"    const std::uint64_t peers = Policy::load_acquire(&peer_->attached);  // SYNC: attached
    const bool lives = peer_lives();
"
"    const bool lives = peer_lives();
    const std::uint64_t peers = Policy::load_acquire(&peer_->attached);
")
mutant(a_loss_is_told_twice ${SLEEP} sender_dies
"{ Policy::store_release(&own_->losses, Policy::load_relaxed(&own_->losses) + 1); }"
"{}")
mutant(a_successor_tells_a_loss_again ${SLEEP} both_die
"std::max(told, lost - (tell_one ? 1 : 0))"
"lost - (tell_one ? 1 : 0)")

# ---- To be removed.

mutant(a_removal_that_the_announcement_drained_is_forgotten ${SLEEP} removed_receiver
"    if ((news.rung || news.dead) && kernel_.is_removed()) removed_ = true;
    epoch_"
"    epoch_")
mutant(a_removal_is_not_looked_for ${SLEEP} removed_sender
"    if ((news.rung || news.dead) && kernel_.is_removed()) removed_ = true;
    if (removed_)"
"    if (removed_)")
mutant(a_channel_is_rung_before_it_is_unlinked tests/model/scenarios.cpp removed_receiver
"  world().unlink_lines();
  world().ring(kSender);
  world().ring(kReceiver);
"
"  world().ring(kSender);
  world().ring(kReceiver);
  world().unlink_lines();
")
mutant(a_removal_rings_one_line_only tests/model/scenarios.cpp removed_sender
"  world().ring(kReceiver);
"
"")

end_mutants()
