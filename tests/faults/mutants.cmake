# The daemon with one seeded mistake each (tests/daemon_mutants.cmake), against the scenario of the crash matrix (Killed)
# or of the fault injection (Refused, with the call that is refused) that must find it.
include(${CMAKE_CURRENT_LIST_DIR}/../daemon_mutants.cmake)

function(try_mutant copy check result said)
  make_daemon(${copy})
  string(REGEX MATCH "^[^ ]+" scenario "${check}")
  string(REGEX REPLACE "^[^ ]+ ?" "" call "${check}")
  set(environment NIMSYNC_FAULTS_STRIDE=1)
  if(call)
    list(APPEND environment NIMSYNC_FAULTS_CALL=${call})
  endif()
  judge_daemon(${copy} faults_test "${scenario}" code output ${environment})
  set(${result} "${code}" PARENT_SCOPE)
  set(${said} "${output}" PARENT_SCOPE)
endfunction()

begin_mutants()

set(STORE daemon/store.cpp)
set(FOLDER lib/state/folder.cpp)
set(SERVER daemon/server.cpp)
set(LINE lib/os/line.cpp)
set(SEGMENT lib/os/segment.cpp)
set(SOCKET lib/os/socket.cpp)

# ---- killed

mutant(segments_are_not_swept_at_start ${STORE} Killed*/creating
"      os::unlink_segment(name);
      adopted"
"      adopted")
mutant(folders_are_not_swept_at_start ${STORE} Killed*/creating
"      sweep(name, remains(name, definition ? &*definition : nullptr));
"
"")
mutant(a_folder_is_published_before_its_definition ${STORE} Killed*/creating
"    store_->write_file(folder, kDefinition, to_text(definition_));
    if"
"    const struct Late {
      Store* store;
      const Descriptor& folder;
      const Definition& definition;
      ~Late() { store->write_file(folder, kDefinition, to_text(definition)); }
    } late{store_, folder, definition_};
    if")
mutant(a_removal_begins_with_a_segment ${STORE} Killed*/removing
"  drop(definition.name, remains(definition.name, &definition));
"
"  const Remains found = remains(definition.name, &definition);
  os::unlink_segment(definition.forward.name);
  drop(definition.name, found);
")
mutant(a_removal_begins_with_the_lines ${STORE} Killed*/removing
"  drop(definition.name, remains(definition.name, &definition));
"
"  const Remains found = remains(definition.name, &definition);
  for (const auto& [role, line] : found.lines) ::unlinkat(found.folder.get(), line_name(role), 0);
  drop(definition.name, found);
")
mutant(a_line_is_not_marked_before_its_name_goes ${STORE} Killed*/removing_in_use
"    os::mark_removed(line);
    os::ring(line);
"
"")
mutant(a_removed_line_is_not_rung ${LINE} Killed*/removing_in_use
"  [[maybe_unused]] const ssize_t written = ::write(holder.get(), &byte, 1);"
"  static_cast<void>(byte);
  static_cast<void>(holder);")
mutant(files_that_were_not_renamed_stay ${STORE} Killed*/opening_intruded
"      if (entry.starts_with('.')) ::unlinkat(at.get(), entry.c_str(), 0);"
"      static_cast<void>(entry);")
mutant(a_grant_keeps_the_lease ${STORE} Killed*/opening
"  Descriptor watched = os::open_as_watcher(at, line_name(other(role)));
"
"  Descriptor watched = os::open_as_watcher(at, line_name(other(role)));
  static_cast<void>(::fcntl(own.get(), F_DUPFD_CLOEXEC, 0));
")
mutant(a_lease_is_not_taken ${STORE} Killed*/opening
"  os::Lease lease = os::take_lease(own);"
"  os::Lease lease = os::Lease::free;")

# ---- refused

mutant(memory_of_a_failed_creation_is_kept ${SEGMENT} "Refused*/creating mkdirat"
"  if (!kept_) unlink_segment(name_);"
"  static_cast<void>(kept_);")
mutant(the_folder_of_a_failed_creation_is_kept ${STORE} "Refused*/creating mknodat"
"    ::unlinkat(store_->channels_.get(), temporary.c_str(), AT_REMOVEDIR);
"
"")
mutant(an_error_path_leaks_a_descriptor ${LINE} "Refused*/opening newfstatat"
"  if (::fstat(fd.get(), &st) != 0) fail("
"  if (::fstat(fd.get(), &st) != 0 && fd.release() >= 0) fail(")
mutant(a_full_disk_is_success ${STORE} "Refused*/creating write"
"  if (written != static_cast<ssize_t>(text.size())) {"
"  if (written > static_cast<ssize_t>(text.size())) {")
mutant(an_interrupted_send_ends_the_connection ${SOCKET} "Refused*/asking sendmsg"
"  } while (sent < 0 && errno == EINTR);"
"  } while (false);")
mutant(an_interrupted_allocation_fails ${SEGMENT} "Refused*/creating fallocate"
"  while (error == EINTR) {"
"  if (error == EINTR) {")
mutant(a_part_of_a_folder_is_taken_for_all ${FOLDER} "Refused*/adopting getdents64"
"  if (errno != 0) os::fail(errno, \"cannot read the state folder\");"
"")
mutant(what_cannot_be_told_is_taken_for_absent ${FOLDER} "Refused*/removing_in_use openat"
"  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EACCES;"
"  return error != 0;")
mutant(a_client_that_cannot_be_told_ends_the_daemon ${SERVER} "Refused*/asking getsockopt"
"    spdlog::warn(\"{}\", e.what());
    return;"
"    throw;")

end_mutants()
