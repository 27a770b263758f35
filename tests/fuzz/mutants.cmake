# What the fuzz targets and the hostile peers must catch, one seeded mistake each (tests/mutants.cmake): every target
# with the inputs that are kept, and some pseudo-random variants of each (replay.cpp). Under AddressSanitizer and
# UndefinedBehaviorSanitizer, whose reports end a program with 1 as a failed check does.
include(${CMAKE_CURRENT_LIST_DIR}/../mutants.cmake)

set(MUTATED include/nimsync lib daemon)
set(FLAGS -O0 -fsanitize=address,undefined -fno-sanitize-recover=all -w)

# What a target is made of beside itself; the ring's are made of headers alone.
set(SOURCES_protocol lib/protocol/varlink.cpp lib/protocol/messages.cpp)
set(SOURCES_attach lib/client/endpoint.cpp lib/os/descriptor.cpp lib/os/segment.cpp lib/os/line.cpp lib/os/barrier.cpp
    lib/os/watch.cpp)
set(SOURCES_definition daemon/catalog.cpp daemon/store.cpp lib/state/definition.cpp lib/state/folder.cpp lib/os/descriptor.cpp lib/os/segment.cpp lib/os/line.cpp
    ${SOURCES_protocol})
set(SOURCES_session daemon/session.cpp daemon/names.cpp daemon/log.cpp ${SOURCES_definition} lib/os/socket.cpp)

# In objects, so that only what a mutant changes is compiled anew.
function(try_mutant copy check result said)
  set(objects "")
  execute_process(COMMAND diff -rq ${copy}/include ${SOURCE}/include RESULT_VARIABLE headers_changed OUTPUT_QUIET)
  foreach(source ${SOURCES_${check}})
    string(MD5 key "${source}")
    file(SHA256 ${copy}/${source} now)
    file(SHA256 ${SOURCE}/${source} was)
    if(headers_changed)
      set(was "")
    endif()
    if(now STREQUAL was AND EXISTS ${WORK}/${key}.o)
      list(APPEND objects ${WORK}/${key}.o)
      continue()
    endif()
    set(object ${copy}/${key}.o)
    if(now STREQUAL was)
      set(object ${WORK}/${key}.o)
    endif()
    compile(${object} ${FLAGS} -c -I${copy}/include -I${copy}/lib -I${copy} -I${SOURCE} ${copy}/${source})
    list(APPEND objects ${object})
  endforeach()
  set(more "")
  if(check MATCHES "session|definition")
    set(more ${BUILT}/tests/service/libnimsync_private_daemon.a ${BUILT}/lib/libnimsync.a -DSPDLOG_COMPILED_LIB
        -DSPDLOG_FMT_EXTERNAL -DSPDLOG_SHARED_LIB)
  endif()
  if(check STREQUAL "session")
    list(PREPEND more ${BUILT}/daemon/interface.cpp)
  endif()
  compile(${copy}/${check} ${FLAGS} -I${copy}/include -I${copy}/lib -I${copy} -I${SOURCE}
          ${SOURCE}/tests/fuzz/${check}.cpp ${SOURCE}/tests/fuzz/replay.cpp ${objects} ${more} -lspdlog -lfmt -lpthread)
  set(variants 200)
  if(check MATCHES "protocol|session|definition")
    set(variants 4)  # there are more inputs of these, and each is read from files or sockets
  endif()
  execute_process(COMMAND ${copy}/${check} ${SOURCE}/tests/fuzz/corpus/${check} ${variants}
                  RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE errors TIMEOUT 100)
  string(REGEX MATCH "(ERROR: AddressSanitizer|runtime error)[^\n]*" report "${errors}")
  set(${result} "${code}" PARENT_SCOPE)
  set(${said} "${output} ${report}" PARENT_SCOPE)
endfunction()

begin_mutants()

set(STAMPED include/nimsync/stamped_ring.hpp)
set(DENSE include/nimsync/dense_ring.hpp)
set(FRAMED include/nimsync/framed_ring.hpp)
set(RING include/nimsync/ring.hpp)
set(LAYOUT include/nimsync/layout.hpp)

mutant(the_length_of_a_frame_is_trusted ${FRAMED} receive_framed
"    if (length > state_.size) return {0, Status::corrupted};"
"")

mutant(the_length_of_a_frame_is_fetched_twice ${FRAMED} receive_framed
"    if (layout::is_of_stream(word, state_.stream)) [[likely]]
      return {length, Status::ok};"
"    if (layout::is_of_stream(word, state_.stream)) [[likely]]
      return {layout::frame_length(Policy::load_acquire(at_head)), Status::ok};")

mutant(an_impossible_head_is_trusted ${RING} send_dense
"    if (used > capacity) return {state_.position, Status::corrupted};"
"")

mutant(an_impossible_tail_is_trusted ${DENSE} receive_dense
"    if (ahead - 1 <= state_.mask) [[likely]]"
"    if (ahead != 0)")

mutant(the_tail_of_a_later_stream_is_trusted ${DENSE} receive_dense
"    if (ahead > capacity || layout::is_of_stream(mark, stream)) return {position, Status::corrupted};"
"    if (layout::is_of_stream(mark, stream)) return {position, Status::corrupted};")

mutant(the_room_is_looked_at_again_for_each_message ${STAMPED} send_stamped
"    if (state_.position == state_.limit) [[unlikely]] {
      const Status status = pass_limit();"
"    if (const Status again = look(); again != Status::ok) return again;
    if (state_.position == state_.limit) [[unlikely]] {
      const Status status = pass_limit();")

mutant(the_capacity_of_a_header_is_not_compared ${LAYOUT} attach
"  if (found.capacity != expected.capacity) return \"capacity\";"
"")

mutant(a_misaligned_head_is_attached_to lib/client/endpoint.cpp attach
"    if (head > layout::kPositionMask || !aligned) throw"
"    if (head > layout::kPositionMask) throw")

mutant(a_tail_beyond_the_ring_is_attached_to lib/client/endpoint.cpp attach
"    if (!tail || *tail - head > memory.geometry.capacity) throw"
"    if (!tail) throw")

mutant(the_limit_of_a_message_is_dropped lib/protocol/varlink.cpp protocol
"  if (size > kMaxMessage) throw Malformed(\"a message is longer than \" + std::to_string(kMaxMessage) + \" bytes\");"
"")

mutant(the_limit_of_nesting_is_dropped lib/protocol/varlink.cpp protocol
"      if (++depth > kMaxNesting) return true;"
"      ++depth;")

mutant(a_number_out_of_range_is_cut lib/protocol/messages.cpp protocol
"    const auto number = json.get<std::int64_t>();
    if (!std::in_range<T>(number)) throw InvalidParameter(member);"
"    const auto number = json.get<std::int64_t>();")

mutant(the_size_of_a_definition_overflows lib/state/definition.cpp definition
"  if ((!frames && geometry.capacity > limits.channel_bytes / layout::stride(geometry.layout, geometry.size)) ||
      memory_of"
"  if (memory_of")

mutant(a_definition_is_believed_beyond_its_limits lib/state/definition.cpp definition
"    if (require_geometry(definition.name, definition.shape.geometry, loosest, page) != definition.shape.geometry) {"
"    if (false) {")

mutant(segments_of_any_name_are_adopted daemon/store.cpp definition
"          if (!definition->sealed && !is_own_name(id->name)) {"
"          if (false) {")

mutant(any_size_of_a_segment_is_intact lib/state/folder.cpp definition
"os::SegmentFacts{.inode = id.inode, .bytes = bytes,"
"os::SegmentFacts{.inode = id.inode, .bytes = os::facts(segment).bytes + 0 * bytes,")

mutant(descriptors_of_a_client_stay_open daemon/session.cpp session
"  splitter_.add(std::span(buffer).first(got.bytes));
  serve();"
"  for (os::Descriptor& each : unsolicited) static_cast<void>(each.release());
  splitter_.add(std::span(buffer).first(got.bytes));
  serve();")

mutant(a_call_without_a_reply_is_answered daemon/session.cpp session
"  oneway_ = call.oneway;"
"  oneway_ = false;")

mutant(a_session_goes_on_behind_a_malformed_message daemon/session.cpp session
"      oneway_ = false;
      end_when_sent();"
"      oneway_ = false;")

end_mutants()
