# The registry with one seeded mistake each (tests/daemon_mutants.cmake), against the test of hostile, sealed or abused
# service that must find it.
include(${CMAKE_CURRENT_LIST_DIR}/../daemon_mutants.cmake)

# A check is "program/filter".
function(try_mutant copy check result said)
  make_daemon(${copy})
  string(REGEX REPLACE "/.*" "" program "${check}")
  string(REGEX REPLACE "^[^/]*/" "" filter "${check}")
  judge_daemon(${copy} ${program} "${filter}" code output)
  set(${result} "${code}" PARENT_SCOPE)
  set(${said} "${output}" PARENT_SCOPE)
endfunction()

begin_mutants()

set(STORE daemon/store.cpp)
set(SESSION daemon/session.cpp)
set(SERVER daemon/server.cpp)
set(CATALOG daemon/catalog.cpp)
set(SEGMENT lib/os/segment.cpp)

# ---- sealed

mutant(sealed_memory_may_shrink ${SEGMENT} "sealed_test/*MemoryIsOfOneSize*"
"F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL"
"F_SEAL_GROW | F_SEAL_SEAL")
mutant(sealed_memory_may_grow ${SEGMENT} "sealed_test/*MemoryIsOfOneSize*"
"F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL"
"F_SEAL_SHRINK | F_SEAL_SEAL")
mutant(a_removed_channels_memory_is_kept ${STORE} "sealed_test/*MemoryEndsWithItsChannel*"
"  sealed_.erase(definition.generation);
"
"")
mutant(sealed_channels_are_not_counted ${CATALOG} "sealed_test/SealedService.LeavesDescriptorsForOthers"
"  if (definition.sealed && sealed() >= limits_.sealed) {"
"  if (false) {")
mutant(an_orphan_lets_somebody_in ${STORE} "sealed_test/Orphaned.ChannelsLetNobodyJoin"
"  if (is_orphan(definition)) {
    throw"
"  if (false) {
    throw")
mutant(an_orphan_that_is_over_keeps_its_place ${SESSION} "sealed_test/LastOrphan*"
"    if (e.errc() != Errc::over_limit || service_.settle_all() == 0) throw;"
"    throw;")

# ---- hostile

mutant(a_protected_channels_memory_is_given_to_write ${STORE} "hostile_test/*AttackerOfAProtected*"
"    return writer == role || !definition.protect ? os::Access::read_write : os::Access::read_only;"
"    static_cast<void>(writer == role);
    return os::Access::read_write;")
mutant(a_line_with_an_intruder_is_not_replaced ${STORE} "hostile_test/Intruder.WithReadLocks*"
"  if (lease == os::Lease::intruded) {"
"  if (false) {")

# ---- abused

mutant(one_uid_may_have_all_connections ${SERVER} "abuse_test/Few*"
"  if (connections > connections_limit_) {"
"  if (false) {")
mutant(replies_without_a_reader_keep_descriptors ${SESSION} "abuse_test/Descriptors.AreNotKept*"
"  if (!os::has_room(fd_)) throw"
"  if (false) throw")
mutant(ended_connections_are_counted_on ${SERVER} "abuse_test/Abuse.ConnectionsThatCome*"
"        if (--connections_[uid] == 0) connections_.erase(uid);
"
"")

# ---- successors

mutant(a_held_side_is_granted_again ${STORE} "succession_test/*"
"  if (lease != os::Lease::free) {"
"  if (false) {")
mutant(segments_in_use_are_swept_at_start ${STORE} "succession_test/*"
"    if (in_use.contains(name)) continue;
"
"")

# ---- rights

mutant(members_of_any_group_administer ${SERVER} "service_test/AdministratorsGroup.*"
"    if (administrators_) caller.administers = caller.administers || caller.is_in(*administrators_);"
"    if (administrators_) caller.administers = true;")
mutant(the_channels_of_a_uid_are_not_counted ${CATALOG} "service_test/Quotas.*"
"  if (!caller.administers) {
    const auto used"
"  if (false) {
    const auto used")

end_mutants()
