// The soak: a sender, a receiver and the registry are killed by SIGKILL at random moments, any of them or several at
// once, and started again, round after round.
//
//     soak ROUNDS [--seed N] [--layout stamped|dense|framed|all] [--patience SECONDS]
//
// Each layout gets ROUNDS rounds over one small channel of a registry of its own, so that the ring is full or empty and
// somebody asleep much of the time; nothing but a ring ends a sleep. The judge is a ledger that outlives the peers
// (oracle.hpp): each committed message is received once, whole and in order, and each successor goes on exactly where
// its predecessor was; what a receiver had peeked and not released when it was killed may come once more, and is
// counted. A death in an attached pair is told to the other, and told once. Whom to kill, when and in which order, and
// how everybody waits and sends comes from the seed (1 unless given); what the machine makes of it differs each time.
// Prints what was counted, a line a layout; ends with 1 and the command that repeats the layout when anything was
// wrong, and when nothing moved for the patience (60 s unless given).
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "tests/service/private_daemon.hpp"
#include "tests/soak/messages.hpp"
#include "tests/soak/oracle.hpp"
#include "tests/soak/peers.hpp"
#include "tests/soak/shared.hpp"

namespace nimsync::soak {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

enum Victim : unsigned { kSender = 1, kReceiver = 2, kDaemon = 4, kAll = 7 };
constexpr std::array<Victim, 3> kVictims{kSender, kReceiver, kDaemon};
constexpr microseconds kLook{30};

struct Arguments {
  std::uint64_t rounds = 0;
  std::uint64_t seed = 1;
  std::chrono::seconds patience{60};
  std::vector<Layout> layouts{Layout::stamped, Layout::dense, Layout::framed};
};

/// What happens in a round. All of it comes from the seed.
struct Plan {
  std::uint64_t messages = 0;            // that are to be received first
  microseconds after{0};                 // and so long after that, or after the round's begin
  std::array<Victim, 3> order{};         // of the kills
  unsigned victims = 0;                  //
  std::array<microseconds, 3> gaps{};    // before each kill but the first
  std::array<Victim, 3> back{};          // the order in which they come back
  std::array<microseconds, 3> rests{};   // before each
  bool unreplaced = false;               // a peer that was killed alone comes back once the other was told
  std::uint64_t without = 0;             // messages that the others exchange while the registry alone is dead
  std::array<std::uint64_t, 2> seeds{};  // of the sender's successor and of the receiver's

  explicit Plan(std::mt19937_64& random) {
    // Every other kill falls into whatever the peers do when they have just been started: connect, open, look around.
    if (random() % 2 == 0) messages = random() % 100;
    after = microseconds(random() % (random() % 2 == 0 ? 100 : 4000));
    // One alone three times out of five, all three at once one time out of ten.
    constexpr std::array<unsigned, 20> kSets{kSender,
                                             kSender,
                                             kSender,
                                             kSender,
                                             kReceiver,
                                             kReceiver,
                                             kReceiver,
                                             kReceiver,
                                             kDaemon,
                                             kDaemon,
                                             kDaemon,
                                             kDaemon,
                                             kSender | kDaemon,
                                             kSender | kDaemon,
                                             kReceiver | kDaemon,
                                             kReceiver | kDaemon,
                                             kSender | kReceiver,
                                             kSender | kReceiver,
                                             kAll,
                                             kAll};
    victims = kSets[random() % kSets.size()];
    order = back = kVictims;
    std::shuffle(order.begin(), order.end(), random);
    std::shuffle(back.begin(), back.end(), random);
    for (auto& each : gaps) each = microseconds(random() % 3 == 0 ? random() % 500 : 0);
    for (auto& each : rests) each = microseconds(random() % 3 == 0 ? random() % 1500 : 0);
    unreplaced = random() % 2 == 0;
    without = random() % 60;
    for (auto& each : seeds) each = random();
  }
};

class Soak {
 public:
  Soak(Layout layout, const Arguments& arguments)
      : layout_(layout), arguments_(arguments), messages_(layout), random_(mixed(arguments.seed) + mixed(stamp())) {}

  /// The line that says what was counted; throws what was wrong.
  std::string run() {
    const auto begin = Clock::now();
    auto registry = Registry::connect(daemon_.socket());
    if (layout_ == Layout::framed) {
      registry.create(kChannel, {.frames = true}, {.capacity = 4096, .max_size = Messages::kLargest});
    } else {
      registry.create(kChannel, {.size = Messages::kRecord}, {.capacity = 8, .layout = layout_});
    }
    try {
      for (const Victim each : {kSender, kReceiver}) start(each, random_());
      for (round_ = 0; round_ < arguments_.rounds; ++round_) play(Plan(random_));
      finish();
    } catch (const std::exception& e) {
      const std::string what = e.what();
      sender_.reset();
      receiver_.reset();
      if (daemon_.pid() < 0) daemon_.start();
      throw std::runtime_error("round " + std::to_string(round_) + ": " + what + "\n  " + counted());
    }
    check(registry);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
    return counted() + ", " + std::to_string(took.count() / 1000) + "." + std::to_string(took.count() / 100 % 10) +
           " s";
  }

 private:
  [[nodiscard]] std::uint64_t stamp() const { return static_cast<std::uint64_t>(layout_); }

  void play(const Plan& plan) {
    if (plan.messages != 0) until_received(ledger_->used + plan.messages);
    std::this_thread::sleep_for(plan.after);
    const std::uint64_t streams = ledger_->closing;  // before it is known that one is open
    const std::uint64_t told = told_to_other(plan.victims);
    const bool is_pair = ledger_->writing != 0 && ledger_->reading != 0;
    unsigned killed = 0;
    for (std::size_t i = 0; i < kVictims.size(); ++i) {
      if ((plan.victims & plan.order[i]) == 0) continue;
      if (killed++ != 0) std::this_thread::sleep_for(plan.gaps[i]);
      kill(plan.order[i]);
    }
    ++at_once_[killed - 1];
    if (plan.unreplaced && is_pair && (plan.victims == kSender || plan.victims == kReceiver)) {
      until_told(plan.victims, told, streams);
    }
    if (plan.victims == kDaemon) go_on_without_registry(plan.without);
    for (std::size_t i = 0; i < kVictims.size(); ++i) {
      if ((plan.victims & plan.back[i]) == 0) continue;
      std::this_thread::sleep_for(plan.rests[i]);
      start(plan.back[i], plan.seeds[plan.back[i] == kSender ? 0 : 1]);
    }
  }

  [[nodiscard]] std::uint64_t told_to_other(unsigned victim) const {
    return victim == kSender ? ledger_->lost_to_receivers : ledger_->lost_to_senders;
  }

  /// A receiver is told when it has drained, a sender when the ring is full; unless a stream was just being closed,
  /// which leaves nothing to tell.
  void until_told(unsigned victim, std::uint64_t before, std::uint64_t streams) {
    const auto begin = Clock::now();
    while (told_to_other(victim) == before && ledger_->closing == streams) {
      std::this_thread::sleep_for(kLook);
      expect_alive();
      if (Clock::now() - begin > arguments_.patience) {
        throw std::runtime_error(victim == kSender ? "hung: the receiver is not told of a killed sender"
                                                   : "hung: the sender is not told of a killed receiver");
      }
    }
    ++waited_;
  }

  void kill(Victim victim) {
    // One that ended by itself has said why.
    if (victim == kDaemon) {
      daemon_.kill();
      ++kills_[2];
    } else {
      expect_alive();
      (victim == kSender ? sender_ : receiver_).reset();
      ++kills_[victim == kSender ? 0 : 1];
    }
  }

  void start(Victim victim, std::uint64_t seed) {
    if (victim == kDaemon) return daemon_.start();
    const Peer peer{.socket = daemon_.socket(), .messages = &messages_, .ledger = &*ledger_, .seed = seed};
    (victim == kSender ? ledger_->writing : ledger_->reading) = 0;
    if (victim == kSender) {
      sender_.emplace([peer] { return run_sender(peer); });
    } else {
      receiver_.emplace([peer] { return run_receiver(peer); });
    }
  }

  void expect_alive() const {
    for (const auto* peer : {&sender_, &receiver_}) {
      if (!*peer) continue;
      siginfo_t info{};
      if (::waitid(P_PID, static_cast<id_t>((*peer)->pid()), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          info.si_pid != 0) {
        throw std::runtime_error(peer == &sender_ ? "the sender has ended" : "the receiver has ended");
      }
    }
  }

  /// Until the receiver has judged so many in all.
  void until_received(std::uint64_t count) const {
    std::uint64_t seen = ledger_->used;
    auto since = Clock::now();
    while (ledger_->used < count) {
      std::this_thread::sleep_for(kLook);
      if (ledger_->used != seen) {
        seen = ledger_->used;
        since = Clock::now();
        continue;
      }
      expect_alive();
      if (Clock::now() - since > arguments_.patience) throw std::runtime_error("hung: nothing moves any more");
    }
  }

  /// A pair that is attached goes on; one that is not just now has to wait, and so does this, for a little while.
  void go_on_without_registry(std::uint64_t messages) {
    constexpr std::chrono::milliseconds kWhile{2};
    const std::uint64_t before = ledger_->used;
    const auto end = Clock::now() + kWhile;
    while (ledger_->used < before + messages && Clock::now() < end) std::this_thread::sleep_for(kLook);
    without_registry_ += ledger_->used - before;
  }

  /// Lets everybody come to the end: the sender closes, the receiver drains.
  void finish() {
    ledger_->finish = 1;
    for (auto* peer : {&sender_, &receiver_}) {
      const std::string side = peer == &sender_ ? "sender" : "receiver";
      std::uint64_t seen = ledger_->used;
      auto since = Clock::now();
      siginfo_t info{};
      while (info.si_pid == 0) {
        std::this_thread::sleep_for(kLook);
        static_cast<void>(::waitid(P_PID, static_cast<id_t>((*peer)->pid()), &info, WEXITED | WNOHANG | WNOWAIT));
        if (ledger_->used != seen) since = Clock::now();
        seen = ledger_->used;
        if (Clock::now() - since > arguments_.patience) throw std::runtime_error("hung: the " + side + " never ends");
      }
      if ((*peer)->wait() != 0) throw std::runtime_error("the " + side + " ended in the wrong way");
    }
  }

  void check(Registry& registry) const {
    const Ledger& ledger = *ledger_;
    const ChannelInfo info = registry.stat(kChannel);
    const auto expect = [&](std::uint64_t a, std::uint64_t b, const char* what) {
      if (a != b) throw std::runtime_error(std::string(what) + ": " + std::to_string(a) + " and " + std::to_string(b));
    };
    expect(ledger.sent, ledger.used, "messages sent and received");
    expect(info.sent, messages_.position(ledger.sent), "the channel's position and the sender's");
    expect(info.received, messages_.position(ledger.used), "the channel's position and the receiver's");
    expect(info.streams_closed, ledger.closed, "streams closed");
    expect(info.streams_received, ledger.closed, "streams received");
    expect(info.sender || info.receiver ? 1 : 0, 0, "leases of the dead");
    if (ledger.lost_to_receivers > kills_[0]) throw std::runtime_error("more senders were lost than were killed");
    if (ledger.lost_to_senders > kills_[1]) throw std::runtime_error("more receivers were lost than were killed");
    if (ledger.redelivered > kills_[1]) throw std::runtime_error("more was redelivered than one message a kill");
  }

  [[nodiscard]] std::string counted() const {
    const Ledger& ledger = *ledger_;
    std::ostringstream text;
    text << name(layout_) << ": " << round_ << " rounds, " << ledger.used << " messages, " << ledger.closed
         << " streams; killed: sender " << kills_[0] << ", receiver " << kills_[1] << ", registry " << kills_[2]
         << " (one alone " << at_once_[0] << ", two at once " << at_once_[1] << ", all three " << at_once_[2] << "); "
         << without_registry_ << " messages while the registry was dead; peer_lost told to receivers "
         << ledger.lost_to_receivers << ", to senders " << ledger.lost_to_senders << ", waited for " << waited_
         << "; lease not free yet " << ledger.still_held << "; redelivered peeks " << ledger.redelivered << "; gaps "
         << ledger.gaps << ", torn " << ledger.torn << ", doubled " << ledger.doubled << ", misplaced "
         << ledger.misplaced;
    return text.str();
  }

  Layout layout_;
  const Arguments& arguments_;
  Messages messages_;
  Shared<Ledger> ledger_;
  testing::PrivateDaemon daemon_;
  std::mt19937_64 random_;
  std::optional<testing::Child> sender_;
  std::optional<testing::Child> receiver_;
  std::uint64_t round_ = 0;
  std::array<std::uint64_t, 3> kills_{};    // sender, receiver, registry
  std::array<std::uint64_t, 3> at_once_{};  // rounds with one, two, three
  std::uint64_t without_registry_ = 0;
  std::uint64_t waited_ = 0;  // for a loss to be told
};

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::optional<Arguments> parse(const std::vector<std::string_view>& words) {
  Arguments arguments;
  if (words.empty() || words.size() % 2 == 0) return std::nullopt;
  const auto rounds = number(words[0]);
  if (!rounds) return std::nullopt;
  arguments.rounds = *rounds;
  for (std::size_t i = 1; i < words.size(); i += 2) {
    if (words[i] == "--layout") {
      if (words[i + 1] == "all") continue;
      std::erase_if(arguments.layouts, [&](Layout layout) { return name(layout) != words[i + 1]; });
      if (arguments.layouts.empty()) return std::nullopt;
      continue;
    }
    const auto value = number(words[i + 1]);
    if (!value) return std::nullopt;
    if (words[i] == "--seed") {
      arguments.seed = *value;
    } else if (words[i] == "--patience") {
      arguments.patience = std::chrono::seconds(*value);
    } else {
      return std::nullopt;
    }
  }
  return arguments;
}

}  // namespace
}  // namespace nimsync::soak

int main(int count, char** values) {
  const auto arguments = nimsync::soak::parse({values + 1, values + count});
  if (!arguments) {
    std::cerr << "usage: soak ROUNDS [--seed N] [--layout stamped|dense|framed|all] [--patience SECONDS]\n";
    return 2;
  }
  std::cout << "seed " << arguments->seed << std::endl;
  for (const nimsync::Layout layout : arguments->layouts) {
    try {
      std::cout << nimsync::soak::Soak(layout, *arguments).run() << std::endl;
    } catch (const std::exception& e) {
      std::cout << "FAILED: " << e.what() << "\n  again: " << values[0] << ' ' << arguments->rounds << " --seed "
                << arguments->seed << " --layout " << name(layout) << std::endl;
      return 1;
    }
  }
  return 0;
}
