// A channel that is to be, in the words of `nimsyncctl create` and of channels.d.
//
// Threads: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "nimsync/options.hpp"
#include "nimsync/registry.hpp"

namespace nimsync::words {

/// What a channel is to be. Either size and capacity, or frames and bytes.
struct Creation {
  std::optional<std::uint64_t> size = std::nullopt;
  std::optional<std::uint64_t> capacity = std::nullopt;
  std::optional<Layout> layout = std::nullopt;
  std::optional<std::uint64_t> align = std::nullopt;
  bool frames = false;
  std::optional<std::uint64_t> bytes = std::nullopt;
  std::optional<std::uint64_t> max_size = std::nullopt;
  std::optional<unsigned> mode = std::nullopt;
  std::optional<std::string> group = std::nullopt;
  std::optional<std::string> type = std::nullopt;
  std::optional<bool> protect = std::nullopt;
  bool sealed = false;

  bool operator==(const Creation&) const = default;
};

/// The same as the library wants it. Throws Error (invalid) for a creation that isn't whole, or is two at once.
struct CreationRequest {
  Shape shape;
  Options options;
};
CreationRequest request_for(const Creation& creation);

}  // namespace nimsync::words
