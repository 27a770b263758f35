// A store of a target's own, in a temporary folder: one for all inputs, since making one takes longer than an input.
#pragma once

#include <spdlog/spdlog.h>

#include <filesystem>
#include <iterator>
#include <string>
#include <utility>

#include "daemon/store.hpp"
#include "tests/service/private_daemon.hpp"

namespace nimsync::fuzz {

/// How many descriptors this process has open.
inline std::ptrdiff_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

class StoreFolder {
 public:
  StoreFolder() { spdlog::set_level(spdlog::level::off); }
  StoreFolder(const StoreFolder&) = delete;
  StoreFolder& operator=(const StoreFolder&) = delete;
  ~StoreFolder() {
    for (const std::string& name : segments()) os::unlink_segment(name);
  }

  registry::Store& store() { return store_; }
  [[nodiscard]] std::string channels() const { return store_.path() + "/channels"; }

  registry::Definition make(registry::Definition wanted) {
    registry::Store::Creation creation(store_, std::move(wanted));
    while (!creation.step()) continue;
    registry::Definition made = creation.finish();
    prefix_ = made.forward.name.substr(1, made.forward.name.size() - 19);  // without the slash, the number and the side
    return made;
  }
  /// The segments of this store, by name; nothing before the first make().
  [[nodiscard]] std::vector<std::string> segments() const {
    return prefix_.empty() ? std::vector<std::string>() : os::segments_named(prefix_);
  }
  [[nodiscard]] const std::string& prefix() const { return prefix_; }

 private:
  testing::TemporaryFolder folder_;
  std::uint64_t numbers_ = 0;
  registry::Store store_{folder_.path() + "/state", [this] { return ++numbers_; }};
  std::string prefix_;
};

}  // namespace nimsync::fuzz
