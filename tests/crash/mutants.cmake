# The product with one seeded mistake each (tests/mutants.cmake); the checks are those of this folder's tests, over one
# kind of ring each and at fewer points: CHECK is "<check> <kind>".
#
# Only what a mistake is in is compiled for it: lib/client/endpoint.cpp for what is there and in the sleep protocol, else
# mutants_kind.cpp, which has the inline endpoints. LIBRARIES has the rest.
include(${CMAKE_CURRENT_LIST_DIR}/../mutants.cmake)

set(MUTATED include/nimsync lib/client lib/os)
set(KINDS "stamped<8>()" "dense<8>()" "framed()")

# object(OUTPUT PROJECT FILE ARGUMENTS...)
function(object output project file)
  compile(${output} -O1 -fPIE -DNIMSYNCD="" -I${project}/include -I${project}/lib -I${SOURCE} ${ARGN} -c ${file})
endfunction()
function(compile_kind output project kind)
  object(${output} ${project} ${SOURCE}/tests/crash/mutants_kind.cpp -DNIMSYNC_CRASH_KIND=${kind})
endfunction()
function(compile_endpoint output project)
  object(${output} ${project} ${project}/lib/client/endpoint.cpp)
endfunction()
function(build output kind endpoint)
  compile(${output} ${WORK}/mutants.o ${WORK}/stepped.o ${kind} ${endpoint} ${LIBRARIES} -pthread
          -Wl,-z,now -static-libstdc++ -static-libgcc)
endfunction()

function(try_mutant copy check result said)
  separate_arguments(check)
  list(GET check 1 kind)
  list(GET check 0 check)
  set(of_kind ${WORK}/${kind}.o)
  set(endpoint ${WORK}/endpoint.o)
  if(file STREQUAL ENDPOINT OR file STREQUAL SLEEP)
    set(endpoint ${copy}/endpoint.o)
    compile_endpoint(${endpoint} ${copy})
  else()
    set(of_kind ${copy}/kind.o)
    compile_kind(${of_kind} ${copy} ${kind})
  endif()
  build(${copy}/mutants ${of_kind} ${endpoint})
  # A mutant that sleeps for ever is waited for.
  execute_process(COMMAND ${CMAKE_COMMAND} -E env NIMSYNC_CRASH_WATCHDOG=4 ${copy}/mutants ${check}
                  RESULT_VARIABLE code OUTPUT_VARIABLE output TIMEOUT 120)
  set(${result} "${code}" PARENT_SCOPE)
  set(${said} "${output}" PARENT_SCOPE)
endfunction()

begin_mutants()
object(${WORK}/mutants.o ${SOURCE} ${SOURCE}/tests/crash/mutants.cpp)
object(${WORK}/stepped.o ${SOURCE} ${SOURCE}/tests/crash/stepped.cpp)
compile_endpoint(${WORK}/endpoint.o ${SOURCE})

# The product as it is passes every check.
foreach(kind ${KINDS})
  compile_kind(${WORK}/${kind}.o ${SOURCE} ${kind})
  build(${WORK}/unchanged ${WORK}/${kind}.o ${WORK}/endpoint.o)
  foreach(check sending receiving attaching leaving waiting waking)
    execute_process(COMMAND ${WORK}/unchanged ${check} RESULT_VARIABLE result OUTPUT_VARIABLE said TIMEOUT 240)
    if(NOT result STREQUAL "0")
      message(FATAL_ERROR "the product fails ${check} of ${kind} without a mutant: ${result} ${said}")
    endif()
  endforeach()
endforeach()

set(CHANNEL include/nimsync/channel.hpp)
set(STAMPED include/nimsync/stamped_ring.hpp)
set(DENSE include/nimsync/dense_ring.hpp)
set(FRAMED include/nimsync/framed_ring.hpp)
set(RING include/nimsync/ring.hpp)
set(SLEEP include/nimsync/sleep.hpp)
set(WAIT include/nimsync/endpoint.hpp)
set(ENDPOINT lib/client/endpoint.cpp)

# ---- Operations.

mutant(a_record_is_published_before_it_is_copied_in ${CHANNEL} "sending stamped<8>()"
"    Native::copy<sizeof(T)>(place, reinterpret_cast<const std::byte*>(&record), sizeof(T));
    this->half_.use([&](auto& ring) __attribute__((always_inline)) { ring.publish(place); });
"
"    this->half_.use([&](auto& ring) __attribute__((always_inline)) { ring.publish(place); });
    Native::compiler_fence();
    Native::copy<sizeof(T)>(place, reinterpret_cast<const std::byte*>(&record), sizeof(T));
")
mutant(a_place_is_freed_before_its_record_is_copied_out ${CHANNEL} "receiving dense<8>()"
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
mutant(a_batch_is_published_before_it_is_copied_in ${DENSE} "sending dense<8>()"
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
mutant(a_frame_is_committed_before_it_is_copied_in ${FRAMED} "sending framed()"
"    Policy::template copy<0>(at(state_.position) + layout::kFrameWord, message.data(), message.size());
    publish(message.size());
"
"    std::byte* const place = at(state_.position) + layout::kFrameWord;
    publish(message.size());
    Policy::compiler_fence();
    Policy::template copy<0>(place, message.data(), message.size());
")
mutant(the_word_behind_a_frame_is_zeroed_after_the_commit ${FRAMED} "sending framed()"
"    Policy::store_relaxed(word_at(next), 0);  // no frame behind this one; ordered by the commit
    Policy::store_release(word_at(state_.position),
                          layout::frame_word(length, state_.stream));  // SYNC: payload visible
"
"    Policy::store_release(word_at(state_.position), layout::frame_word(length, state_.stream));
    Policy::compiler_fence();
    Policy::store_relaxed(word_at(next), 0);
")
mutant(a_hint_is_never_stored ${STAMPED} "sending stamped<8>()"
"    if ((state_.position & last) == 0) this->store_position();
"
"")
mutant(a_second_counter_commits ${ENDPOINT} "attaching stamped<8>()"
"    resume = {.position = *tail, .stream = streams_closed};"
"    resume = {.position = mark & layout::kPositionMask, .stream = streams_closed};")
mutant(a_stream_is_counted_before_its_end ${RING} "sending dense<8>()"
"    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);  // SYNC: end of stream visible
"
"    Policy::store_release(&state_.forward->common.streams, state_.stream + 1);
    Policy::compiler_fence();
    Policy::store_relaxed(&state_.forward->ends[state_.stream % layout::kStreamEnds], state_.position);
")
mutant(a_loss_is_told_for_ever ${SLEEP} "sending dense<8>()"
"{ Policy::store_release(&own_->losses, Policy::load_relaxed(&own_->losses) + 1); }"
"{}")

# ---- Attaching.

mutant(a_hint_is_cleared_while_its_successor_attaches ${STAMPED} "attaching stamped<8>()"
"    this->store_position();  // a predecessor may"
"    Policy::store_release(&state_.forward->common.position, std::uint64_t{0});
    Policy::compiler_fence();
    this->store_position();  // a predecessor may")
mutant(a_successor_stores_a_hint_inside_a_frame ${FRAMED} "attaching framed()"
"    this->store_position();  // the walk that"
"    state_.position += layout::kFrameWord;
    this->store_position();
    Policy::compiler_fence();
    state_.position -= layout::kFrameWord;
    this->store_position();  // the walk that")

# ---- Leaving.

mutant(a_lease_is_given_back_before_the_announcement_is ${ENDPOINT} "leaving dense<8>()"
"  rise();  // the header is a successor's from now on
  // In this order: the watcher is woken by the close, and a successor finds the lease free by then.
  os::end_lease(own_line_);
"
"  os::end_lease(own_line_);
  rise();
")
mutant(a_lease_is_given_back_before_the_stream_ends ${CHANNEL} "leaving dense<8>()"
"    half_.use([](auto& ring) __attribute__((always_inline)) { ring.close(); });
    ring_peer();
    internal::give_lease_back(attachment());
"
"    internal::give_lease_back(attachment());
    half_.use([](auto& ring) __attribute__((always_inline)) { ring.close(); });
    ring_peer();
")

# ---- Sleeping and waking.

mutant(nobody_is_rung ${RING} "waiting dense<8>()"
"  return epoch != state.rung;"
"  return false;")
mutant(no_second_look ${SLEEP} "waiting dense<8>()"
"    if (!is_announced()) return announce() ? Step::look : Step::unable;"
"    if (!is_announced() && !announce()) return Step::unable;")
mutant(a_hang_up_is_forgotten ${SLEEP} "waking dense<8>()"
"(dead ? 0 : 1)"
"1")
mutant(no_ring_after_attaching ${SLEEP} "waiting dense<8>()"
"  // SYNC: attached
    kernel_.ring();
"
"  // SYNC: attached
")
mutant(a_successor_resets_the_epoch ${SLEEP} "waiting dense<8>()"
"    epoch_ = layout::round_up(Policy::load_relaxed(&own_->sleep_epoch), 2);"
"    epoch_ = 0;")
mutant(a_successor_uses_the_last_epoch_again ${SLEEP} "waiting dense<8>()"
"    epoch_ = layout::round_up(Policy::load_relaxed(&own_->sleep_epoch), 2);"
"    epoch_ = Policy::load_relaxed(&own_->sleep_epoch) / 2 * 2;")
mutant(a_removal_is_not_looked_for ${SLEEP} "waiting dense<8>()"
"    if ((news.rung || news.dead) && kernel_.is_removed()) removed_ = true;
    if (removed_)"
"    if (removed_)")

mutant(a_loss_is_told_before_what_was_sent ${WAIT} "waiting dense<8>()"
"      const Status status = attempt();  // what came before the news is taken before the news
      if (status != Status::would_block) return status;
      switch (woken) {"
"      switch (woken) {")
mutant(who_waits_looks_at_its_peer_alone ${WAIT} "waking dense<8>()"
"      const internal::Woken woken = internal::wait(attachment);
      if (woken == internal::Woken::look) continue;
"
"      internal::Woken woken = internal::wait(attachment);
      while (woken == internal::Woken::look) woken = internal::wait(attachment);
      if (woken == internal::Woken::peer_lost) {
        internal::count_loss(attachment);
        return Status::peer_lost;
      }
")

end_mutants()
