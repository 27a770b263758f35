// What a registry finds in its folder when it starts: a definition and a grant of any bytes. A definition is refused
// with an Error, or it is one that could have been made, and says the same when it is written and read again. Adopting
// takes no memory but its own, neither the definition's segments nor a foreign one's; what was adopted can be
// described, granted and asked for its holder; no descriptor stays open.
//
// The bytes: the definition's text, where @F and @R are the names of two segments that exist, @I and @J their inodes,
// @X a foreign segment's name and @P the prefix of this registry's names; behind a NUL the grant's text.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>

#include "os/line.hpp"
#include "tests/fuzz/bytes.hpp"
#include "tests/fuzz/store_folder.hpp"
#include "tests/rings/channel.hpp"

namespace nimsync::registry {
namespace {

using rings_test::require;

void require_possible(const Definition& definition, const Limits& limits) {
  const Geometry& geometry = definition.shape.geometry;
  require(std::has_single_bit(geometry.capacity) && geometry.size != 0, "an impossible geometry");
  require(geometry.layout != Layout::framed || geometry.size <= layout::largest_frame(geometry.capacity),
          "frames larger than their ring");
  constexpr std::uint64_t most = std::uint64_t{1} << 40;  // what no limit was ever above
  require(geometry.capacity <= most && geometry.size <= most && memory_of(geometry, os::page_bytes()) <= most,
          "a definition beyond all limits");
  require(
      geometry.layout == Layout::framed || geometry.capacity <= most / layout::stride(geometry.layout, geometry.size),
      "a definition whose memory has no size");
  require((definition.mode & ~0666U) == 0, "an impossible mode");
  require(!definition.name.empty() && definition.name.size() <= 100 && definition.name.find('/') == std::string::npos &&
              definition.name.front() != '.',
          "an impossible name");
  require(from_text(to_text(definition), limits, os::page_bytes()) == definition,
          "a definition isn't what was read of it");
}

class Folder {
 public:
  Folder() : foreign_name_("/nimsync-foreign-" + std::to_string(::getpid())) {
    foreign_.reset(::shm_open(foreign_name_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    require(static_cast<bool>(foreign_), "no foreign segment");
    make_channel();
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { os::unlink_segment(foreign_name_); }

  void adopt(std::string_view text) {
    const std::size_t end = text.find('\0');
    const std::string definition = filled_in(text.substr(0, end));
    const std::string grant(end == std::string_view::npos ? std::string_view() : text.substr(end + 1));
    const Limits limits;

    std::optional<Definition> read;
    try {
      read = from_text(definition, limits, os::page_bytes());
    } catch (const Error&) {
    }
    if (read) require_possible(*read, limits);

    const std::ptrdiff_t descriptors = fuzz::open_descriptors();
    write("definition", definition);
    write("sender", grant);
    const Store::Adopted adopted = folder_.store().adopt(limits);
    require(adopted.channels.size() <= 1, "adopted what isn't there");
    for (const Definition& each : adopted.channels) {
      require(each.name == "c" && read && each == *read, "adopted another channel than the folder's");
      for (const SegmentId* id : {&each.forward, &each.back}) {
        require(each.sealed ? id->name.empty() : id->name.starts_with("/" + folder_.prefix()),
                "adopted a foreign segment");
      }
      look_at(each);
    }
    require(os::facts(foreign_).owner == ::geteuid() && ::access(("/dev/shm" + foreign_name_).c_str(), F_OK) == 0,
            "a foreign segment is gone");
    require(fuzz::open_descriptors() == descriptors, "descriptors stay open");
    if (!is_whole()) make_channel();
  }

 private:
  void make_channel() {
    data_.reset();
    if (!made_.forward.name.empty()) folder_.store().remove(made_);
    for (const std::string& name : folder_.segments()) os::unlink_segment(name);
    made_ = folder_.make({.name = "c", .shape = {.geometry = {Layout::stamped, 8, 16}, .alignment = 8}});
    const os::Descriptor at(::open((folder_.channels() + "/c").c_str(), O_DIRECTORY | O_CLOEXEC));
    data_ = os::open_as_holder(at, "data");
    require(os::take_lease(data_) == os::Lease::free, "the line is held");
  }
  [[nodiscard]] bool is_whole() const {
    return std::filesystem::exists(folder_.channels() + "/c/data") && folder_.segments().size() == 2;
  }

  /// Whatever is in there, asking after it throws Error or nothing.
  void look_at(const Definition& definition) {
    const protocol::Channel channel = folder_.store().describe(definition);
    require((channel.state == "orphaned") == definition.sealed, "a sealed channel is no orphan");
    require(channel.state == "damaged" || channel.state == "orphaned" ||
                definition.forward.inode == made_.forward.inode || definition.forward.inode == made_.back.inode,
            "a channel of other segments isn't damaged");
    const auto bytes = [](const Definition& of) { return layout::forward_bytes(of.shape.geometry, os::page_bytes()); };
    require(channel.state == "damaged" || channel.state == "orphaned" || bytes(definition) == bytes(made_),
            "a channel of another size isn't damaged");
    require(channel.counts.used <= definition.shape.geometry.capacity, "more is used than there is");
    for (const protocol::Role role : {protocol::Role::sender, protocol::Role::receiver}) {
      try {
        static_cast<void>(folder_.store().holder(definition, role));
        static_cast<void>(folder_.store().grant(definition, role, {}));
        require(role == protocol::Role::receiver && !definition.sealed, "a side that is held, or lost, was granted");
      } catch (const Error&) {
      }
    }
  }

  void write(const char* name, const std::string& text) const {
    std::ofstream(folder_.channels() + "/c/" + name, std::ios::binary) << text;
  }

  [[nodiscard]] std::string filled_in(std::string_view text) const {
    std::string filled;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '@' || i + 1 == text.size()) {
        filled += text[i];
        continue;
      }
      switch (text[++i]) {
        case 'F':
          filled += made_.forward.name;
          break;
        case 'R':
          filled += made_.back.name;
          break;
        case 'I':
          filled += std::to_string(made_.forward.inode);
          break;
        case 'J':
          filled += std::to_string(made_.back.inode);
          break;
        case 'X':
          filled += foreign_name_;
          break;
        case 'P':
          filled += folder_.prefix();
          break;
        default:
          filled += text[i];
          break;
      }
    }
    return filled;
  }

  std::string foreign_name_;
  os::Descriptor foreign_;
  fuzz::StoreFolder folder_;
  Definition made_{.name = "c"};
  os::Descriptor data_;  // the sender's line, held
};

}  // namespace
}  // namespace nimsync::registry

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static nimsync::registry::Folder folder;
  folder.adopt(nimsync::fuzz::Bytes(data, size).text());
  return 0;
}
