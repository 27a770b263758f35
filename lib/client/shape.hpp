// From what a program says of a channel to what is asked of the registry.
//
// Threads: plain values.
#pragma once

#include <cstdint>

#include "nimsync/error.hpp"
#include "nimsync/layout.hpp"
#include "nimsync/options.hpp"

namespace nimsync {
inline namespace v1 {
namespace internal {

/// The geometry that options ask for, not rounded. Error `invalid`: frames in a layout for records, or the other way
/// round.
inline Geometry asked_geometry(bool frames, std::uint64_t record_size, const Options& options) {
  const Layout usual = frames ? Layout::framed : Layout::stamped;
  const Layout layout = options.layout.value_or(usual);
  if ((layout == Layout::framed) != frames) {
    throw Error(Errc::invalid, frames ? "frames lie in a framed ring; leave the layout unset"
                                      : "records lie in a stamped or a dense ring; a framed one is for frames");
  }
  return {.layout = layout, .size = frames ? options.max_size : record_size, .capacity = options.capacity};
}

}  // namespace internal
}  // namespace v1
}  // namespace nimsync
