// Links that are no queues: what the machine itself allows.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/loops.hpp"
#include "bench/shared.hpp"

namespace bench {

/// One cache line with one word: what a round trip is compared with. Holds one message and never says full: for
/// questions and answers only.
class LineLink {
  struct alignas(128) Line {
    std::atomic<std::uint64_t> number;
  };

 public:
  class Sender {
   public:
    explicit Sender(Line& line) noexcept : line_(&line) {}
    [[gnu::always_inline]] bool try_send(const Record<8>& record) noexcept {
      line_->number.store(record.words[0], std::memory_order_release);
      return true;
    }

   private:
    Line* line_;
  };

  class Receiver {
   public:
    explicit Receiver(Line& line) noexcept : line_(&line) {}
    [[gnu::always_inline]] bool try_receive(Record<8>& record) noexcept {
      const std::uint64_t number = line_->number.load(std::memory_order_acquire);
      if (number == last_) return false;
      last_ = number;
      record.words[0] = number;
      return true;
    }

   private:
    Line* line_;
    std::uint64_t last_ = 0;
  };

  Sender open_sender() { return Sender(*line_); }
  Receiver open_receiver() { return Receiver(*line_); }
  void remove_names() noexcept {}

 private:
  Shared<Line> line_;
};

/// How fast one core can hand written lines to the other: a buffer of the messages' footprint in four parts, one of
/// which is being written while others are read. Every word is written and checked; one counter a part is published
/// either way.
class DirtyLines {
 public:
  explicit DirtyLines(std::size_t footprint_bytes)
      : part_lines_(std::max<std::size_t>(footprint_bytes / sizeof(Line) / kParts, 1)), lines_(part_lines_ * kParts) {}

  /// Lines that a stream of so many consists of, in whole parts.
  [[nodiscard]] std::uint64_t whole_parts(double lines) const noexcept {
    return std::max<std::uint64_t>(static_cast<std::uint64_t>(lines) / part_lines_, 2);
  }
  [[nodiscard]] std::size_t part_lines() const noexcept { return part_lines_; }

  /// Writes parts `first` to `first + parts`.
  [[gnu::noinline]] void write(std::uint64_t first, std::uint64_t parts) noexcept {
    for (std::uint64_t part = first; part != first + parts; ++part) {
      while (read_->count.load(std::memory_order_acquire) + kParts <= part) {
      }
      Line* const line = &lines_[part % kParts * part_lines_];
      for (std::size_t i = 0; i < part_lines_; ++i) {
#pragma GCC unroll 8
        for (std::size_t w = 0; w < kWords; ++w) line[i].words[w] = part + w;
      }
      written_->count.store(part + 1, std::memory_order_release);
    }
  }

  /// Reads them.
  [[gnu::noinline]] Lap read(std::uint64_t first, std::uint64_t parts) noexcept {
    std::uint64_t wrong = 0;
    Clock::time_point begin;
    for (std::uint64_t part = first; part != first + parts; ++part) {
      while (written_->count.load(std::memory_order_acquire) <= part) {
      }
      if (part == first) begin = Clock::now();
      const Line* const line = &lines_[part % kParts * part_lines_];
      std::uint64_t differences = 0;
      for (std::size_t i = 0; i < part_lines_; ++i) {
#pragma GCC unroll 8
        for (std::size_t w = 0; w < kWords; ++w) differences |= line[i].words[w] ^ (part + w);
      }
      if (differences != 0) [[unlikely]]
        count_one(wrong);
      read_->count.store(part + 1, std::memory_order_release);
    }
    return {ns_between(begin, Clock::now()), static_cast<double>(parts * part_lines_), wrong};
  }

 private:
  static constexpr std::size_t kParts = 4;
  static constexpr std::size_t kWords = 8;
  struct alignas(64) Line {
    std::uint64_t words[kWords];
  };
  struct alignas(128) Counter {
    std::atomic<std::uint64_t> count;
  };

  std::size_t part_lines_;
  Shared<Line> lines_;
  Shared<Counter> written_;
  Shared<Counter> read_;
};

/// Dirty lines as a contestant among messages of `size` bytes, 64 of which make a line; each message counts as
/// `units`.
class DirtyLinesContestant final : public Contestant {
 public:
  DirtyLinesContestant(std::string name, std::size_t footprint_bytes, std::size_t size, std::size_t units = 1)
      : Contestant(std::move(name), Kind::limit, kInMemory),
        lines_a_message_(static_cast<double>(size) / kLine),
        units_a_line_(static_cast<double>(units) / lines_a_message_) {
    for (std::size_t i = 0; i < kInstances; ++i) {
      instances_.push_back(std::make_unique<DirtyLines>(footprint_bytes));
    }
    near_.resize(kInstances);
    far_.resize(kInstances);
  }

  void open_near() override {}
  void open_far() override {}
  void remove_names() noexcept override {}
  void close_near() noexcept override {}
  void close_far() noexcept override {}

  Lap near(std::size_t instance, std::uint64_t count, std::span<double>) override {
    const std::uint64_t parts = instances_[instance]->whole_parts(static_cast<double>(count) * lines_a_message_);
    instances_[instance]->write(std::exchange(near_[instance], near_[instance] + parts), parts);
    return {};
  }
  Lap far(std::size_t instance, std::uint64_t count, std::span<double>) override {
    const std::uint64_t parts = instances_[instance]->whole_parts(static_cast<double>(count) * lines_a_message_);
    Lap lap = instances_[instance]->read(std::exchange(far_[instance], far_[instance] + parts), parts);
    lap.units *= units_a_line_;
    return lap;
  }

 private:
  static constexpr double kLine = 64;
  double lines_a_message_;
  double units_a_line_;
  std::vector<std::unique_ptr<DirtyLines>> instances_;
  std::vector<std::uint64_t> near_;  // the next part
  std::vector<std::uint64_t> far_;
};

}  // namespace bench
