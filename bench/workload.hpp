// Links made into contestants: what the workloads over records have in common.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/contestant.hpp"
#include "bench/loops.hpp"

namespace bench {

/// Where contestants meet.
struct Place {
  std::string socket;      // of the registry
  std::string folder;      // of this run, for names in the file system
  std::string tag;         // part of every other name
  std::string no_iceoryx;  // why iceoryx can't take part; empty: it can
};

/// One link's two ends and the number of the next message.
template <class Link>
struct Ends {
  std::unique_ptr<Link> link;
  std::optional<typename Link::Sender> tx;
  std::optional<typename Link::Receiver> rx;
  std::uint64_t next = 1;

  std::uint64_t advance(std::uint64_t count) noexcept { return std::exchange(next, next + count); }
  void close() noexcept {
    tx.reset();
    rx.reset();
  }
};

/// Two links, there and back: questions and answers.
template <std::size_t Size, class Link>
class RoundTrip final : public Contestant {
 public:
  static constexpr std::size_t kLinks = 2;
  /// `links`: there and back by turns.
  RoundTrip(std::string name, Kind kind, Nature nature, std::vector<std::unique_ptr<Link>> links)
      : Contestant(std::move(name), kind, nature), there_(nature.instances), back_(nature.instances) {
    for (std::size_t i = 0; i < nature.instances; ++i) {
      there_[i].link = std::move(links[kLinks * i]);
      back_[i].link = std::move(links[kLinks * i + 1]);
    }
  }

  void open_near() override {
    for (auto& each : there_) each.tx.emplace(each.link->open_sender());
    for (auto& each : back_) each.rx.emplace(each.link->open_receiver());
  }
  void open_far() override {
    for (auto& each : there_) each.rx.emplace(each.link->open_receiver());
    for (auto& each : back_) each.tx.emplace(each.link->open_sender());
  }
  void remove_names() noexcept override {
    for (auto& each : there_) each.link->remove_names();
    for (auto& each : back_) each.link->remove_names();
  }
  void close_near() noexcept override {
    for (auto& each : there_) each.tx.reset();
    for (auto& each : back_) each.rx.reset();
  }
  void close_far() noexcept override {
    for (auto& each : there_) each.rx.reset();
    for (auto& each : back_) each.tx.reset();
  }

  Lap near(std::size_t instance, std::uint64_t count, std::span<double> parts) override {
    auto& tx = *there_[instance].tx;
    auto& rx = *back_[instance].rx;
    const std::uint64_t first = there_[instance].advance(count);
    if (parts.empty()) return ask<Size>(tx, rx, first, count);
    Lap whole{};
    const std::uint64_t each = count / parts.size();
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const Lap part = ask<Size>(tx, rx, first + i * each, each);
      parts[i] = part.ns;
      whole.wrong += part.wrong;
    }
    return whole;
  }
  Lap far(std::size_t instance, std::uint64_t count, std::span<double>) override {
    return answer<Size>(*back_[instance].tx, *there_[instance].rx, back_[instance].advance(count), count);
  }

 private:
  std::vector<Ends<Link>> there_;
  std::vector<Ends<Link>> back_;
};

/// One link, from near to far, used by a pair of loops (loops.hpp).
template <class Loops, class Link>
class Stream final : public Contestant {
 public:
  static constexpr std::size_t kLinks = 1;
  Stream(std::string name, Kind kind, Nature nature, std::vector<std::unique_ptr<Link>> links)
      : Contestant(std::move(name), kind, nature), sending_(nature.instances), receiving_(nature.instances) {
    for (std::size_t i = 0; i < nature.instances; ++i) sending_[i].link = std::move(links[i]);
  }

  void open_near() override {
    for (auto& each : sending_) each.tx.emplace(each.link->open_sender());
  }
  // The two halves have their own numbers, since they may be threads of one process.
  void open_far() override {
    for (std::size_t i = 0; i < sending_.size(); ++i) receiving_[i].rx.emplace(sending_[i].link->open_receiver());
  }
  void remove_names() noexcept override {
    for (auto& each : sending_) each.link->remove_names();
  }
  void close_near() noexcept override {
    for (auto& each : sending_) each.tx.reset();
  }
  void close_far() noexcept override {
    for (auto& each : receiving_) each.rx.reset();
  }

  Lap near(std::size_t instance, std::uint64_t count, std::span<double>) override {
    return Loops::send(*sending_[instance].tx, sending_[instance].advance(count), count);
  }
  Lap far(std::size_t instance, std::uint64_t count, std::span<double>) override {
    return Loops::receive(*receiving_[instance].rx, receiving_[instance].advance(count), count);
  }

 private:
  std::vector<Ends<Link>> sending_;
  std::vector<Ends<Link>> receiving_;
};

/// Adds to `group` the contestant that `Made` makes of links, each from a call of make_link(part of a name). When one
/// can't be made the contestant is left out, with the reason.
template <template <class> class Made, class MakeLink>
void add(Group& group, const std::string& name, Kind kind, Nature nature, MakeLink make_link) {
  using Link = typename decltype(make_link(std::string{}))::element_type;
  const std::string part = "c" + std::to_string(group.contestants.size()) + "-";
  try {
    std::vector<std::unique_ptr<Link>> links;
    for (std::size_t i = 0; i < nature.instances * Made<Link>::kLinks; ++i) {
      links.push_back(make_link(part + std::to_string(i)));
    }
    group.contestants.push_back(std::make_unique<Made<Link>>(name, kind, nature, std::move(links)));
  } catch (const std::exception& error) {
    group.left_out.push_back({name, error.what()});
  }
}

// The names that reports and goals use.
inline constexpr const char* kTwoLines = "two-line ping-pong";
inline constexpr const char* kBoost = "boost spsc_queue, managed segment";
inline constexpr const char* kBoostThreads = "boost spsc_queue, two threads";
inline constexpr const char* kBoostMessageQueue = "boost message_queue";
inline constexpr const char* kReaderWriter = "readerwriterqueue, two threads";
inline constexpr const char* kPipe = "pipe";
inline constexpr const char* kStreamSocket = "unix stream socket";
inline constexpr const char* kSeqpacket = "unix seqpacket socket";
inline constexpr const char* kPosixQueue = "posix message queue";
inline constexpr const char* kZeroMq = "zeromq ipc";
inline constexpr const char* kIceoryx = "iceoryx 2";
inline constexpr const char* kDirtyLines = "dirty lines";
inline constexpr const char* kNimBackoff = "nimsync, backoff 1-100 ms";  // as the Nim library waits

}  // namespace bench
