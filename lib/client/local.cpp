// make_channel(): a channel of this process alone. Anonymous memory and private lines; the rest is as between
// processes.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "client/attachment.hpp"
#include "client/shape.hpp"
#include "os/line.hpp"

namespace nimsync {
inline namespace v1 {
namespace internal {

namespace {

os::Descriptor make_memory(std::uint64_t bytes, const layout::Header& identity) {
  os::Descriptor fd(::memfd_create("nimsync", MFD_CLOEXEC));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    os::fail(errno, "cannot make a channel of " + std::to_string(bytes) + " bytes");
  }
  if (::pwrite(fd.get(), &identity, sizeof identity, 0) != static_cast<ssize_t>(sizeof identity)) {
    os::fail(errno, "cannot make a channel of " + std::to_string(bytes) + " bytes");
  }
  return fd;
}

Geometry local_geometry(const Wanted& wanted, const Options& options) {
  constexpr std::uint64_t most = std::uint64_t{1} << 40;
  Geometry geometry = asked_geometry(wanted.frames, wanted.size, options);
  if (geometry.capacity == 0 || geometry.capacity > most) {
    throw Error(Errc::invalid, "a channel without a registry needs a capacity from 1 to " + std::to_string(most));
  }
  geometry = layout::rounded(geometry, os::page_bytes());
  if (wanted.frames && geometry.size > layout::largest_frame(geometry.capacity)) {
    throw Error(Errc::invalid, "a ring of " + std::to_string(geometry.capacity) + " bytes takes messages of at most " +
                                   std::to_string(layout::largest_frame(geometry.capacity)) + " bytes");
  }
  if (!wanted.frames && geometry.capacity > most / layout::stride(geometry.layout, geometry.size)) {
    throw Error(Errc::no_space, "a channel without a registry has at most " + std::to_string(most) + " bytes");
  }
  return geometry;
}

}  // namespace

std::pair<Attached, Attached> make_local(const Wanted& wanted, const Options& options) {
  const Geometry geometry = local_geometry(wanted, options);
  const std::uint64_t page = os::page_bytes();
  const layout::Header identity = layout::identity(geometry, 1, page);
  const os::Descriptor forward = make_memory(layout::forward_bytes(geometry, page), identity);
  const os::Descriptor back = make_memory(layout::return_bytes(page), identity);
  constexpr auto access = os::Access::read_write;
  os::PrivateLine data = os::make_private_line();
  os::PrivateLine room = os::make_private_line();
  const auto side = [&](Role role, os::Mapping mapping, os::PrivateLine& own, os::PrivateLine& peer) {
    return attach({.name = {},
                   .role = role,
                   .wait = options.wait,
                   .mapping = std::move(mapping),
                   .own_line = std::move(own.holder),
                   .peer_line = std::move(peer.watcher),
                   .line_reader = std::move(own.reader)});
  };
  // One mapping serves both sides, which keep it together: what one thread writes the other reads at the same address.
  os::Mapping mapping(forward, access, back, access, geometry);
  Attached sender = side(Role::sender, mapping, data, room);
  try {
    return {sender, side(Role::receiver, std::move(mapping), room, data)};
  } catch (...) {
    detach(sender.attachment);
    throw;
  }
}

}  // namespace internal
}  // namespace v1
}  // namespace nimsync
