// A channel for tests: memory, a kind of ring over it, numbered messages, and the failure that checks throw.
//
// The checks of this folder are free of GoogleTest, so that the small program of the seeded mutants runs the very same
// ones. They throw Broken; the tests turn it into a failure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "tests/rings/kinds.hpp"
#include "tests/rings/memory.hpp"

namespace nimsync::rings_test {

/// What became of a message, or of who waited for it.
enum class Fault : std::uint8_t { other, lost, torn, doubled, hung };

/// A check that failed.
class Broken : public std::runtime_error {
 public:
  explicit Broken(const std::string& what, Fault fault = Fault::other) : std::runtime_error(what), fault_(fault) {}
  [[nodiscard]] Fault fault() const noexcept { return fault_; }

 private:
  Fault fault_;
};

inline void require(bool holds, const std::string& what, Fault fault = Fault::other) {
  if (!holds) throw Broken(what, fault);
}

inline std::string text(Status status) {
  return name(status);
}

/// splitmix64: the same numbers from the same seed everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() noexcept {
    std::uint64_t mixed = state_ += 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
    return mixed ^ (mixed >> 31U);
  }
  /// Below `bound`, which isn't 0.
  std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }

 private:
  std::uint64_t state_;
};

/// The largest frame of a framed channel unless told otherwise.
inline std::uint64_t largest(std::uint64_t capacity) {
  return layout::largest_frame(capacity) / 2;
}

inline Geometry geometry(const Kind& kind, std::uint64_t capacity) {
  return {kind.layout, kind.framed() ? largest(capacity) : kind.size, capacity};
}

/// Message number `n` of a channel: its number, as far as it fits, then bytes that no other message has at their places
/// and of which none is likely to look like a zeroed word. Frames are of lengths from 8 bytes on, if so many may be.
inline Message message(const Geometry& geometry, std::uint64_t n) {
  std::uint64_t length = geometry.size;
  if (geometry.layout == Layout::framed) {
    const std::uint64_t choice = Random(n).next();
    const std::uint64_t shortest = std::min<std::uint64_t>(geometry.size, 8);
    const std::uint64_t span = geometry.size - shortest + 1;
    length = shortest + (choice >> 8U) % (choice % 8 == 0 ? span : std::min<std::uint64_t>(span, 90));
  }
  Message made(length);
  for (std::size_t i = 0; i < made.size(); ++i) {
    made[i] = static_cast<std::byte>(i < 8 ? n >> (8 * i) : (n * 7 + i * 13) | 1U);
  }
  return made;
}

inline std::uint64_t number_of(View message) {
  std::uint64_t n = 0;
  std::memcpy(&n, message.data(), std::min<std::size_t>(message.size(), sizeof n));
  return n;
}

/// The units that a message takes of a channel's capacity.
inline std::uint64_t units(const Geometry& geometry, View message) {
  return geometry.layout == Layout::framed ? layout::frame_bytes(message.size()) : 1;
}

class Channel {
 public:
  Channel(const Kind& kind, const Geometry& geometry)
      : kind_(kind), segments_(geometry), mapping_(segments_, Mapping::Rights::both) {}
  Channel(const Kind& kind, std::uint64_t capacity) : Channel(kind, rings_test::geometry(kind, capacity)) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  virtual ~Channel() = default;

  [[nodiscard]] const Kind& kind() const { return kind_; }
  [[nodiscard]] const Geometry& geometry() const { return segments_.geometry(); }
  [[nodiscard]] const Segments& segments() const { return segments_; }
  [[nodiscard]] Mapping& mapping() { return mapping_; }
  [[nodiscard]] const Mapping& mapping() const { return mapping_; }
  [[nodiscard]] const RingMemory& memory() const { return mapping_.memory(); }
  [[nodiscard]] Message message(std::uint64_t n) const { return rings_test::message(geometry(), n); }

  /// The first sender or receiver, or a successor that goes on where the memory says.
  [[nodiscard]] virtual std::unique_ptr<Sending> sender() const {
    const auto resume = kind_.resume_sending(memory());
    require(resume.has_value(), "a successor can't find the tail");
    return kind_.sending(memory(), *resume);
  }
  [[nodiscard]] virtual std::unique_ptr<Receiving> receiver() const {
    return kind_.receiving(memory(), Kind::resume_receiving(memory()));
  }

 private:
  Kind kind_;
  Segments segments_;
  Mapping mapping_;
};

}  // namespace nimsync::rings_test
