// Shared words as a machine may show them that orders no more than it is asked to.
//
// A word is not one value but the list of all that were stored to it, its *messages*, and each thread has a *view*: how
// far in each list it has seen. A load may return any message that isn't behind its thread's view, so an old value can
// be read after newer ones of other words, and it moves the view of that word. A release store puts its thread's view
// into the message; an acquire load takes the view of the message that it reads. Sequentially consistent fences hand
// one view around. That is the model of C++20 for programs like these, with two differences:
//
//   - a load never returns what is stored later (no load buffering): reordering a load with a later store is seen only
//     where the load is of plain memory, as a data race;
//   - the messages of a word are in the order in which they were made. Every shared word has one writer, and a
//     successor has seen what its predecessor stored, so they can't be in another; a second writer is a fault.
//
// Plain accesses are to the same words. One that isn't ordered against another by views is a data race: a plain load
// must have seen every store, a plain store every store and load, an atomic one every plain load and store. To have
// seen a load is to have seen one more entry of the view, which each load moves.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "nimsync/ring.hpp"

namespace nimsync::model {

using Word = std::uint64_t;

/// How far each word's messages were seen, and each ring word's loads.
struct alignas(64) View {
  static constexpr std::size_t kEntries = 64;
  std::array<std::uint8_t, kEntries> seen{};

  void join(const View& other) noexcept {
    for (std::size_t i = 0; i < kEntries; ++i) seen[i] = std::max(seen[i], other.seen[i]);
  }
  /// What is left of it above `base`.
  [[nodiscard]] View above(const View& base) const noexcept {
    View rest;
    for (std::size_t i = 0; i < kEntries; ++i) {
      rest.seen[i] = static_cast<std::uint8_t>(std::max(seen[i], base.seen[i]) - base.seen[i]);
    }
    return rest;
  }
};

/// What a thread has seen.
struct Sight {
  View current;   // what its loads must not be behind
  View acquired;  // besides, what it would see after a fence: the views of all messages that it read
  View released;  // what its relaxed stores carry: its view at its last fence
};

/// Rolls words into 128 bits.
class Digest {
 public:
  void add(Word word) noexcept {
    low_ = mixed(low_ ^ word, 0x9e3779b97f4a7c15U);
    high_ = mixed(high_ + word, 0xd6e8feb86659fd93U);
  }
  void add(const View& view) noexcept {
    const auto words = std::bit_cast<std::array<Word, View::kEntries / sizeof(Word)>>(view);
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] != 0) add(words[i] + (i << 60U));
    }
    add(0);
  }
  [[nodiscard]] Word low() const noexcept { return low_; }
  [[nodiscard]] Word high() const noexcept { return high_; }

 private:
  static Word mixed(Word value, Word by) noexcept {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(value ^ by) * (by | 1U);
    return static_cast<Word>(product) ^ static_cast<Word>(product >> 64U) ^ (value << 17U);
  }

  Word low_ = 1;
  Word high_ = 2;
};

enum class Order : std::uint8_t { relaxed, ordered };  // ordered: acquire or release

/// Who acts upon a word that a process stores.
enum class Use : std::uint8_t { none, by_owner, by_both };

/// Both segments of one channel. The bytes are there for their addresses; what they hold is in the messages.
class Memory {
 public:
  static constexpr std::size_t kRingBytes = 128;  // twice the ring, for frames
  static constexpr std::size_t kNoPlace = View::kEntries;

  /// The segments, with a ring of `geometry` that was never used.
  [[nodiscard]] RingMemory segments(const Geometry& geometry) noexcept {
    return {
        .forward = bytes_.data(), .back = bytes_.data() + kBack, .ring = bytes_.data() + kRing, .geometry = geometry};
  }

  /// All words zero and seen by everybody. `folded`: the bytes of a ring that is mapped twice, or none.
  void restart(std::size_t folded) noexcept {
    folded_ = folded;
    for (std::size_t place = 0; place < places_; ++place) words_[place].last = 0;
  }

  /// Where a shared word's messages are; kNoPlace for private memory. The same word has the same place for ever.
  std::size_t place(const void* address) noexcept {
    const auto* const at = static_cast<const std::byte*>(address);
    if (at < bytes_.data() || at >= bytes_.data() + bytes_.size()) return kNoPlace;
    auto offset = static_cast<std::size_t>(at - bytes_.data());
    if (folded_ != 0 && offset >= kRing + folded_ && offset < kBack) offset -= folded_;
    std::uint8_t& known = index_[offset / sizeof(Word)];
    if (known == 0) {
      known = static_cast<std::uint8_t>(places_ + 1);
      words_[places_].offset = offset;
      places_ += in_ring(offset) ? 3U : 1U;  // in the ring, entries for plain loads and for atomic ones
      if (places_ > View::kEntries) std::abort();
    }
    return known - 1U;
  }

  /// Whether the sender is who stores it; the receiver otherwise.
  [[nodiscard]] bool is_of_sender(std::size_t place) const noexcept { return words_[place].offset < kBack; }

  /// Counts are for people; of losses only the owner's successor wants to know.
  [[nodiscard]] Use use(std::size_t place) const noexcept {
    const std::size_t offset = words_[place].offset;
    const std::size_t field = offset < kBack ? offset : offset - kBack;
    if (field == offsetof(layout::Header, rings)) return Use::none;
    return field == offsetof(layout::Header, losses) ? Use::by_owner : Use::by_both;
  }

  // The newest message of a place, and the oldest that a thread may still read.
  [[nodiscard]] unsigned newest(std::size_t place) const noexcept { return words_[place].last; }
  static unsigned oldest(const Sight& sight, std::size_t place) noexcept { return sight.current.seen[place]; }
  [[nodiscard]] Word newest_value(std::size_t place) const noexcept {
    return words_[place].messages[words_[place].last].value;
  }
  [[nodiscard]] Word value(std::size_t place, unsigned message) const noexcept {
    return words_[place].messages[message].value;
  }

  // Accesses. Each is preceded by its check, which says what is wrong with it, or null.
  [[nodiscard]] const char* wrong_with_load(const Sight& sight, std::size_t place) const noexcept {
    const History& word = words_[place];
    for (unsigned i = sight.current.seen[place] + 1U; i <= word.last; ++i) {
      if (word.messages[i].plain) return "data race: a word is loaded that another process stores without order";
    }
    return nullptr;
  }
  Word load(Sight& sight, std::size_t place, unsigned index, Order order) noexcept {
    History& word = words_[place];
    const Message& message = word.messages[index];
    sight.current.seen[place] = static_cast<std::uint8_t>(index);
    sight.acquired.seen[place] = std::max(sight.acquired.seen[place], sight.current.seen[place]);
    sight.acquired.join(message.view);
    if (order == Order::ordered) sight.current.join(message.view);
    if (in_ring(word.offset)) count_load(sight, place + 2);
    return message.value;
  }

  /// Makes the newest message the only one to be read.
  void see_newest(Sight& sight, std::size_t place) const noexcept {
    sight.current.seen[place] = sight.acquired.seen[place] = static_cast<std::uint8_t>(words_[place].last);
  }

  [[nodiscard]] const char* wrong_with_store(const Sight& sight, std::size_t place) const noexcept {
    if (sight.current.seen[place] != words_[place].last) return "a word is stored by two processes without order";
    if (words_[place].last + 1U == kMessages) return "more stores to one word than the model has room for";
    return in_ring(words_[place].offset) && !has_seen_loads(sight, place + 1)
               ? "data race: a word is stored that another process copies out without order"
               : nullptr;
  }
  void store(Sight& sight, std::size_t place, Word value, Order order) noexcept {
    Message& message = append(sight, place, value);
    message.view = order == Order::ordered ? sight.current : sight.released;
    message.view.seen[place] = sight.current.seen[place];
  }

  [[nodiscard]] const char* wrong_with_plain_load(const Sight& sight, std::size_t place) const noexcept {
    return sight.current.seen[place] == words_[place].last
               ? nullptr
               : "data race: a payload is copied out that another process stores without order";
  }
  Word plain_load(Sight& sight, std::size_t place) noexcept {
    count_load(sight, place + 1);
    return newest_value(place);
  }

  [[nodiscard]] const char* wrong_with_plain_store(const Sight& sight, std::size_t place) const noexcept {
    if (const char* wrong = wrong_with_store(sight, place)) return wrong;
    return has_seen_loads(sight, place + 2)
               ? nullptr
               : "data race: a payload is copied over a word that another process loads without order";
  }
  void plain_store(Sight& sight, std::size_t place, Word value) noexcept {
    Message& message = append(sight, place, value);
    message.plain = true;
    message.view = View{};
  }

  /// What all of `sights` have seen, to tell states apart by what is left above it. Of loads only the newest matters,
  /// whether it was seen.
  template <class Sights>
  [[nodiscard]] View base(const Sights& sights) const noexcept {
    View common;
    common.seen.fill(0xff);
    for (const Sight* sight : sights) {
      for (std::size_t i = 0; i < View::kEntries; ++i) {
        common.seen[i] = std::min(common.seen[i], sight->current.seen[i]);
      }
    }
    for (std::size_t place = 0; place < places_; ++place) {
      if (words_[place].is_count) common.seen[place] = static_cast<std::uint8_t>(std::max(words_[place].last, 1U) - 1U);
    }
    return common;
  }
  /// All that anybody can still read.
  void digest(Digest& into, const View& base) const noexcept {
    for (std::size_t place = 0; place < places_; ++place) {
      const History& word = words_[place];
      if (word.last == 0 || word.is_count || use(place) == Use::none) continue;
      into.add(place << 8U | (word.last - base.seen[place]));
      for (unsigned i = base.seen[place]; i <= word.last; ++i) {
        into.add(word.messages[i].value);
        into.add(word.messages[i].plain ? 1 : 0);
        into.add(word.messages[i].view.above(base));
      }
    }
  }

  /// A word's name, for schedules.
  [[nodiscard]] std::string name(std::size_t place) const {
    const std::size_t offset = words_[place].offset;
    if (in_ring(offset)) return "ring+" + std::to_string(offset - kRing);
    const std::string segment = offset < kRing ? "forward." : "return.";
    const std::size_t field = offset < kRing ? offset : offset - kBack;
    for (const auto& [at, name] : kNames) {
      if (at == field) return segment + name;
    }
    return segment + "ends[" + std::to_string((field - offsetof(layout::ForwardHeader, ends)) / sizeof(Word)) + "]";
  }

 private:
  static constexpr std::size_t kRing = sizeof(layout::ForwardHeader);
  static constexpr std::size_t kBack = kRing + kRingBytes;
  static constexpr std::size_t kBytes = kBack + sizeof(layout::Header);
  static constexpr unsigned kMessages = 64;

  static constexpr struct {
    std::size_t offset;
    const char* name;
  } kNames[] = {
      {offsetof(layout::Header, attached), "attached"}, {offsetof(layout::Header, streams), "streams"},
      {offsetof(layout::Header, losses), "losses"},     {offsetof(layout::Header, sleep_epoch), "sleep_epoch"},
      {offsetof(layout::Header, barrier), "barrier"},   {offsetof(layout::Header, rings), "rings"},
      {offsetof(layout::Header, position), "position"}};

  struct Message {
    Word value = 0;
    bool plain = false;
    View view;
  };
  struct History {
    std::size_t offset = 0;
    unsigned last = 0;
    bool is_count = false;  // of loads: no messages
    std::array<Message, kMessages> messages;
  };

  static bool in_ring(std::size_t offset) noexcept { return offset >= kRing && offset < kBack; }

  void count_load(Sight& sight, std::size_t count) noexcept {
    words_[count].is_count = true;
    if (words_[count].last == 0xff) std::abort();
    sight.current.seen[count] = static_cast<std::uint8_t>(++words_[count].last);
    sight.acquired.seen[count] = sight.current.seen[count];
  }
  [[nodiscard]] bool has_seen_loads(const Sight& sight, std::size_t count) const noexcept {
    return sight.current.seen[count] == words_[count].last;
  }
  Message& append(Sight& sight, std::size_t place, Word value) noexcept {
    History& word = words_[place];
    Message& message = word.messages[++word.last];
    message.value = value;
    message.plain = false;
    sight.current.seen[place] = static_cast<std::uint8_t>(word.last);
    sight.acquired.seen[place] = sight.current.seen[place];
    return message;
  }

  alignas(layout::kOwnerLine) std::array<std::byte, kBytes> bytes_{};
  std::array<std::uint8_t, kBytes / sizeof(Word)> index_{};  // place + 1
  std::array<History, View::kEntries> words_;
  std::size_t places_ = 0;
  std::size_t folded_ = 0;
};

}  // namespace nimsync::model
