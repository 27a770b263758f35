# The product with one seeded mistake each (tests/mutants.cmake); the checks are those of this folder's tests, at fewer
# points. What a mistake is in is compiled and stands before LIBRARIES, where the rest comes from.
include(${CMAKE_CURRENT_LIST_DIR}/../mutants.cmake)

set(MUTATED include/nimsync lib/client lib/os)
set(ENV{NIMSYNC_CRASH_WATCHDOG} 8)

function(build output project)
  compile(${output} -O1 -fPIE -DNIMSYNCD="" -I${project}/include -I${project}/lib -I${SOURCE}
          ${SOURCE}/tests/crash/mutants.cpp ${project}/lib/client/endpoint.cpp ${WORK}/stepped.o
          ${LIBRARIES} -pthread -Wl,-z,now)
endfunction()

function(try_mutant copy check result said)
  build(${copy}/mutants ${copy})
  execute_process(COMMAND ${copy}/mutants ${check} RESULT_VARIABLE code OUTPUT_VARIABLE output TIMEOUT 120)
  set(${result} "${code}" PARENT_SCOPE)
  set(${said} "${output}" PARENT_SCOPE)
endfunction()

begin_mutants()
compile(${WORK}/stepped.o -O1 -fPIE -I${SOURCE}/include -I${SOURCE}/lib -I${SOURCE} -c ${SOURCE}/tests/crash/stepped.cpp)

# The product as it is passes every check.
if(NOT ONLY)
  build(${WORK}/unchanged ${SOURCE})
  foreach(check operations attaching leaving waiting waking)
    execute_process(COMMAND ${WORK}/unchanged ${check} RESULT_VARIABLE result OUTPUT_VARIABLE said TIMEOUT 240)
    if(NOT result STREQUAL "0")
      message(FATAL_ERROR "the product fails ${check} without a mutant: ${result} ${said}")
    endif()
  endforeach()
endif()

set(CHANNEL include/nimsync/channel.hpp)
set(STAMPED include/nimsync/stamped_ring.hpp)
set(DENSE include/nimsync/dense_ring.hpp)
set(FRAMED include/nimsync/framed_ring.hpp)
set(RING include/nimsync/ring.hpp)
set(SLEEP include/nimsync/sleep.hpp)
set(ENDPOINT lib/client/endpoint.cpp)

# ---- Operations.

mutant(a_record_is_published_before_it_is_copied_in ${CHANNEL} operations
"    Native::copy<sizeof(T)>(place, reinterpret_cast<const std::byte*>(&record), sizeof(T));
    this->half_.use([&](auto& ring) __attribute__((always_inline)) { ring.publish(place); });
"
"    this->half_.use([&](auto& ring) __attribute__((always_inline)) { ring.publish(place); });
    Native::compiler_fence();
    Native::copy<sizeof(T)>(place, reinterpret_cast<const std::byte*>(&record), sizeof(T));
")
mutant(a_place_is_freed_before_its_record_is_copied_out ${CHANNEL} operations
"    if constexpr (std::is_class_v<T> && std::is_copy_assignable_v<T>) {
      record = *reinterpret_cast<const T*>(place);  // as wide as it can be: nobody here has just written it in words
    } else {  // a bool or an enumeration isn't loaded as one: its bytes are the peer's
      Native::copy<sizeof(T)>(reinterpret_cast<std::byte*>(&record), place, sizeof(T));
    }
    this->half_.use([](auto& ring) __attribute__((always_inline)) { ring.free_one(); });
"
"    this->half_.use([](auto& ring) __attribute__((always_inline)) { ring.free_one(); });
    Native::compiler_fence();
    if constexpr (std::is_class_v<T> && std::is_copy_assignable_v<T>) {
      record = *reinterpret_cast<const T*>(place);  // as wide as it can be: nobody here has just written it in words
    } else {  // a bool or an enumeration isn't loaded as one: its bytes are the peer's
      Native::copy<sizeof(T)>(reinterpret_cast<std::byte*>(&record), place, sizeof(T));
    }
")
mutant(a_batch_is_published_before_it_is_copied_in ${DENSE} operations
"    Policy::template copy<0>(next(), records, first);
    Policy::template copy<0>(state_.ring, records + first, fit * record_size() - first);
    publish_some(fit);
"
"    std::byte* const place = next();
    publish_some(fit);
    Policy::compiler_fence();
    Policy::template copy<0>(place, records, first);
    Policy::template copy<0>(state_.ring, records + first, fit * record_size() - first);
")
mutant(a_frame_is_committed_before_it_is_copied_in ${FRAMED} operations
"    Policy::template copy<0>(at(state_.position) + layout::kFrameWord, message.data(), message.size());
    publish(message.size());
"
"    std::byte* const place = at(state_.position) + layout::kFrameWord;
    publish(message.size());
    Policy::compiler_fence();
    Policy::template copy<0>(place, message.data(), message.size());
")
mutant(the_word_behind_a_frame_is_zeroed_after_the_commit ${FRAMED} operations
"    Policy::store_relaxed(word_at(next), 0);  // no frame behind this one; ordered by the commit
    Policy::store_release(word_at(state_.position),
                          layout::frame_word(length, state_.stream));  // SYNC: payload visible
"
"    Policy::store_release(word_at(state_.position), layout::frame_word(length, state_.stream));
    Policy::compiler_fence();
    Policy::store_relaxed(word_at(next), 0);
")
mutant(a_hint_is_never_stored ${STAMPED} operations
"    if ((state_.position & last) == 0) this->store_position();
"
"")
mutant(a_second_counter_commits ${ENDPOINT} operations
"    resume = {.position = *tail, .stream = streams_closed};"
"    resume = {.position = mark & layout::kPositionMask, .stream = streams_closed};")
mutant(a_stream_is_counted_before_its_end ${RING} operations
"    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);  // SYNC: end of stream visible
"
"    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);
    Policy::compiler_fence();
    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
")
mutant(a_loss_is_told_for_ever ${SLEEP} operations
"{ Policy::store_release(&own_->losses, Policy::load_relaxed(&own_->losses) + 1); }"
"{}")

# ---- Leaving.

mutant(a_lease_is_given_back_before_the_announcement_is ${ENDPOINT} leaving
"  rise();  // the header is a successor's from now on
  // In this order: the watcher is woken by the close, and a successor finds the lease free by then.
  os::end_lease(own_line_);
"
"  os::end_lease(own_line_);
  rise();
")
mutant(a_lease_is_given_back_before_the_stream_ends ${CHANNEL} leaving
"    half_.use([](auto& ring) __attribute__((always_inline)) { ring.close(); });
    ring_peer();
    internal::give_lease_back(attachment());
"
"    internal::give_lease_back(attachment());
    half_.use([](auto& ring) __attribute__((always_inline)) { ring.close(); });
    ring_peer();
")

# ---- Sleeping and waking.

mutant(nobody_is_rung ${RING} waiting
"  return epoch != state.rung;"
"  return false;")
mutant(no_second_look ${SLEEP} waiting
"    if (!is_announced()) return announce() ? Step::look : Step::unable;"
"    if (!is_announced() && !announce()) return Step::unable;")
mutant(a_hang_up_is_forgotten ${SLEEP} waiting
"(dead ? 0 : 1)"
"1")
mutant(no_ring_after_attaching ${SLEEP} waiting
"  // SYNC: attached
    kernel_.ring();
"
"  // SYNC: attached
")
mutant(a_successor_resets_the_epoch ${SLEEP} waiting
"    epoch_ = layout::round_up(Policy::load_relaxed(&own_->sleep_epoch), 2);"
"    epoch_ = 0;")
mutant(a_successor_uses_the_last_epoch_again ${SLEEP} waiting
"    epoch_ = layout::round_up(Policy::load_relaxed(&own_->sleep_epoch), 2);"
"    epoch_ = Policy::load_relaxed(&own_->sleep_epoch) / 2 * 2;")
mutant(a_removal_is_not_looked_for ${SLEEP} waiting
"    if ((news.rung || news.dead) && kernel_.is_removed()) removed_ = true;
    if (removed_)"
"    if (removed_)")

end_mutants()
