# The barrier audit against the headers with one order weakened each, or one barrier too many (tests/mutants.cmake):
#
#   cmake -DCOMPILER=aarch64-linux-gnu-g++ -DSOURCE=<project> -DWORK=<folder> [-DONLY=<regex>] -P mutants.cmake
#
# Every store_release, load_acquire and fence of include/nimsync is here once.
include(${CMAKE_CURRENT_LIST_DIR}/../mutants.cmake)

set(MUTATED include/nimsync)

function(try_mutant copy check result said)
  execute_process(
    COMMAND ${SOURCE}/tests/aarch64/${check}_test.py --compiler ${COMPILER} --include ${copy}/include
    RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE errors TIMEOUT 120)
  set(${result} "${code}" PARENT_SCOPE)
  set(${said} "${output}${errors}" PARENT_SCOPE)
endfunction()

begin_mutants()

try_mutant(${SOURCE} barriers result said)
if(NOT result STREQUAL "0")
  message(FATAL_ERROR "the audit fails without a mutant: ${result} ${said}")
endif()

set(POLICY include/nimsync/policy.hpp)
set(RING include/nimsync/ring.hpp)
set(STAMPED include/nimsync/stamped_ring.hpp)
set(DENSE include/nimsync/dense_ring.hpp)
set(FRAMED include/nimsync/framed_ring.hpp)
set(SLEEP include/nimsync/sleep.hpp)

# weakened(NAME FILE TEXT): a part of TEXT, which names the order, becomes relaxed.
function(weakened name file text)
  string(REPLACE load_acquire load_relaxed weak "${text}")
  string(REPLACE store_release store_relaxed weak "${weak}")
  mutant(${name}_is_relaxed ${file} barriers "${text}" "${weak}")
  set(MUTANTS ${MUTANTS} PARENT_SCOPE)
  set(SURVIVORS ${SURVIVORS} PARENT_SCOPE)
endfunction()

# ---- The rings.

weakened(the_store_of_a_position ${RING}
"Policy::store_release(&state_.forward->common.position, state_.position + state_.tag);")
weakened(the_store_of_a_head ${RING}
"Policy::store_release(&state_.back->position, position);")
weakened(the_store_of_an_end ${RING}
"Policy::store_release(&state_.forward->common.streams, state_.stream + 1);")
weakened(the_store_of_the_next_stream ${RING}
"Policy::store_release(&state_.back->streams, state_.stream);")
weakened(the_load_of_a_head ${RING}
"const std::uint64_t head = Policy::load_acquire(&state_.back->position);")
weakened(the_load_of_a_head_for_a_size ${RING}
"state_.position - Policy::load_acquire(&state_.back->position)")
weakened(the_load_of_a_hint ${RING}
"state_.position, Policy::load_acquire(&state_.forward->common.position));")
weakened(the_load_of_an_end ${RING}
"const std::uint64_t streams = Policy::load_acquire(&forward->common.streams);")
weakened(the_load_of_a_mark_in_a_search ${RING}
"return Policy::load_acquire(reinterpret_cast<const std::uint64_t*>(ring + offset));")
weakened(the_store_of_a_stamp ${STAMPED}
"Policy::store_release(Slots::stamp(slot, state_.size), next + state_.tag);")
weakened(the_load_of_a_stamp ${STAMPED}
"Policy::load_acquire(Slots::stamp(slot, state_.size));")
weakened(the_load_of_a_tail ${DENSE}
"const std::uint64_t mark = Policy::load_acquire(&state_.forward->common.position);")
weakened(the_load_of_an_end_before_the_tail ${DENSE}
"const std::uint64_t streams = Policy::load_acquire(&forward->common.streams);")
weakened(the_store_of_a_frame ${FRAMED}
"Policy::store_release(word_at(state_.position),")
weakened(the_load_of_a_frame ${FRAMED}
"const std::uint64_t word = Policy::load_acquire(at_head);")

# ---- The sleep protocol.

weakened(the_load_of_the_attached_peers ${SLEEP}
"const std::uint64_t peers = Policy::load_acquire(&peer_->attached);")
weakened(the_load_of_the_closed_streams ${SLEEP}
"    const std::uint64_t closed = role_ == Role::receiver ? Policy::load_acquire(&peer_->streams) : 0;
    const std::uint64_t lost ")
weakened(the_load_of_the_told_losses ${SLEEP}
"const std::uint64_t told = Policy::load_acquire(&own_->losses);")
weakened(the_store_of_the_told_losses ${SLEEP}
"Policy::store_release(&own_->losses, std::max(told, lost - (tell_one ? 1 : 0)));")
weakened(the_store_of_an_attach ${SLEEP}
"Policy::store_release(&own_->attached, Policy::load_relaxed(&own_->attached) + 1);")
weakened(the_load_of_an_attach_before_a_sleep ${SLEEP}
"return Policy::load_acquire(&peer_->attached) == 0 ||")
weakened(the_load_of_an_attach_in_a_look ${SLEEP}
"const std::uint64_t attached = Policy::load_acquire(&peer_->attached);")
weakened(the_store_of_a_counted_loss ${SLEEP}
"Policy::store_release(&own_->losses, Policy::load_relaxed(&own_->losses) + 1);")
weakened(the_load_of_the_closed_streams_in_a_look ${SLEEP}
"    const std::uint64_t closed = role_ == Role::receiver ? Policy::load_acquire(&peer_->streams) : 0;
    const std::uint64_t accounted ")
mutant(no_fence_before_the_epoch_is_looked_at ${SLEEP} barriers
"    if (barrier_ == layout::Barrier::fence) Policy::fence();
"
"")

# ---- What the orders are made of.

mutant(no_load_acquires ${POLICY} barriers "__ATOMIC_ACQUIRE" "__ATOMIC_RELAXED")
mutant(no_store_releases ${POLICY} barriers "__ATOMIC_RELEASE" "__ATOMIC_RELAXED")
mutant(a_fence_orders_loads_alone ${POLICY} barriers
"__atomic_thread_fence(__ATOMIC_SEQ_CST)"
"__atomic_thread_fence(__ATOMIC_ACQUIRE)")

# ---- Barriers that the hot path must not pay for.

mutant(each_publication_fences ${RING} barriers
"  Policy::compiler_fence();
  const std::uint64_t epoch"
"  Policy::fence();
  const std::uint64_t epoch")
mutant(each_look_at_the_epoch_acquires ${RING} barriers
"Policy::load_relaxed(state.bell);"
"Policy::load_acquire(state.bell);")
mutant(the_word_behind_a_frame_is_released_too ${FRAMED} barriers
"Policy::store_relaxed(word_at(next), 0);"
"Policy::store_release(word_at(next), 0);")

end_mutants()
