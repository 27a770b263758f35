// A machine on which processes run in every order: fibers, memory, lines, membarriers, death.
//
// A process is a fiber that runs the real code of include/nimsync with Modelled for its policy. Before each operation
// that another process could notice it stops, and the world chooses who goes on: the same one, another that can (a
// preemption, of which an execution has a few; it is free when the first one can't go on), or, where the scenario lets
// it die, nobody: it is killed there. A killed process is followed by a successor, some time later, which sees what it
// stored. All of it is one choice of Search, so every order is tried.
//
// A process waits by an event of its line, without any bound, or, where the product would poll, until something that
// its last look read has changed: an attempt that did nothing may as well not have been made. Nobody can go on, and
// not everybody has finished: that is a lost wake-up.
//
// An execution that comes to a state that was reached before ends there. A loop that changes nothing therefore ends,
// and isn't reported; a process says which statuses it may get, so that it doesn't go round with another for ever.
//
// Where stopping would make no difference, it doesn't:
//   - before loads of words that the process itself writes, and before plain copies it isn't interrupted: that a copy
//     isn't ordered is found as a data race; nor is it before it stores what only its successors read;
//   - it isn't killed before what leaves nothing behind, since it could as well be before the next thing that does;
//   - another is killed where the running process begins to run or has called the kernel: loads and stores don't tell
//     whether another process lives;
//   - a compiler fence is nothing at all: what it forbids the compiler, no checker of the source can see.
#pragma once

#include <array>
#include <boost/context/fiber.hpp>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "nimsync/sleep.hpp"
#include "tests/model/memory.hpp"
#include "tests/model/search.hpp"

namespace nimsync::model {

/// Who takes part. One process at a time in each part; a successor takes its predecessor's.
enum Part : unsigned { kSender, kReceiver, kRegistry, kParts };

constexpr Part peer_of(unsigned part) noexcept {
  return part == kSender ? kReceiver : kSender;
}

/// What a scenario keeps account of beside the processes' own variables; a part of the state.
struct Facts {
  Word received = 0;                    // messages, in order
  Word closed = 0;                      // ends of stream that the receiver was told
  std::array<Word, 2> told{};           // losses that the part was told of
  std::array<Word, 2> lost{};           // processes of the part that attached and ended without closing
  std::array<Word, 2> unmet{};          // of the other part's processes, those lost before this part's last one came
  std::array<Word, kParts> finished{};  // whether the part's last process came to its end
  std::array<Word, 2> removed{};        // whether the part was told that the channel was removed
};

struct Scenario {
  /// What a process of each part does; `life` counts its predecessors. No body: nobody.
  std::array<std::function<void(unsigned life)>, kParts> bodies;
  std::array<unsigned, kParts> deaths{};  // how many processes of the part may be killed
  Geometry geometry;
  bool attached = true;  // the first two processes attach before anything else happens, and see each other
  unsigned preemptions = 3;
  unsigned spurious_wakes = 0;
  /// What must hold when everybody has finished.
  std::function<bool(const Facts&)> goal;
};

struct Verdict {
  std::string fault;  // empty: none
  std::vector<std::string> schedule;
  bool complete = false;
  std::size_t states = 0;
  std::size_t executions = 0;
};

class World {
 public:
  /// Runs every execution of a scenario, until a fault.
  Verdict check(const Scenario& scenario);

  // ---- For the processes.

  [[nodiscard]] RingMemory memory() noexcept { return memory_.segments(scenario_->geometry); }
  [[nodiscard]] Part self() const noexcept { return static_cast<Part>(running_); }
  Facts facts;
  /// A shared word as it is, for accounts: no access of a process.
  [[nodiscard]] Word newest(const Word* word) noexcept { return memory_.newest_value(memory_.place(word)); }

  /// After attaching: the first processes stop here until all have attached.
  void is_attached() noexcept;
  /// Everything private that the process goes on with, in place of all that it has read: forgets how it came here.
  void rest(std::initializer_list<Word> state) noexcept {
    processes_[running_].local = processes_[running_].local_at_start;
    for (const Word word : state) learn(word);
  }
  void require(bool holds, const char* what) noexcept {
    if (!holds) fault(what);
  }
  [[noreturn]] void fault(const char* what) noexcept;

  Word load(const Word* from, Order order) noexcept;
  void store(Word* to, Word value, Order order) noexcept;
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) noexcept;
  void fence() noexcept;

  void register_for_membarrier() noexcept { processes_[running_].registered = true; }
  void membarrier() noexcept;

  /// Opens both lines: holds its own, watches the other's.
  void open_lines() noexcept;
  [[nodiscard]] bool peer_holds_line() noexcept;
  LineNews drain() noexcept;
  void ring(Part holder) noexcept;
  /// Until there is an event of the peer's line.
  void sleep() noexcept;
  /// Gives the lease back.
  void close_lines() noexcept;

  void unlink_lines() noexcept;
  [[nodiscard]] bool is_unlinked() noexcept;

  /// Repeats `attempt` until it doesn't say would_block.
  template <class Attempt>
  Status poll(Attempt attempt) noexcept {
    for (;;) {
      const Word before = processes_[running_].local;
      processes_[running_].looked_at = 0;
      const Status status = attempt();
      if (status != Status::would_block) return status;
      processes_[running_].local = before;
      wait_for_change();
    }
  }
  /// Until the facts are so, however the process learns of it.
  void until(bool (*holds)(const Facts&)) noexcept {
    processes_[running_].condition = holds;
    wait(Stand::waiting);
  }

 private:
  enum class Stand : std::uint8_t {
    to_come,  // a process that hasn't begun
    ready,    // before an operation
    asleep,   // waits for its line
    polling,  // waits for another value of what it looked at
    waiting,  // waits for facts
    done,     // nobody is to come any more
  };
  struct Process {
    Stand stand = Stand::done;
    unsigned life = 0;
    unsigned deaths_left = 0;
    bool attaching = false;  // before everything else: isn't interrupted
    bool registered = false;
    bool has_lines = false;
    bool saw_removal = false;
    Word local = 0;           // what it has read and come to know
    Word local_at_start = 0;  // the same for the life
    Word looked_at = 0;       // places, as bits, by the last look of a poll
    View found;               // which of their messages
    bool (*condition)(const Facts&) = nullptr;
    Sight sight;
  };
  /// What kind of thing a process does next. It is interrupted before what others could notice, or what could notice
  /// others; and killed before what leaves something behind.
  enum class Operation : std::uint8_t { load, store, own_store, plain_store, of_kernel };

  /// A FIFO, its holder, and its watcher's edge-triggered epoll.
  struct Line {
    bool rung = false;
    bool held = false;
    bool watched = false;
    bool was_held = false;  // since the watcher came
    bool edge = false;      // something happened that the watcher's epoll hasn't reported
    View view;              // of who rang or held

    /// The kernel asks the FIFO again before it reports.
    [[nodiscard]] bool has_event() const noexcept { return edge && (rung || (!held && was_held)); }
  };
  struct Option {
    enum class Kind : std::uint8_t { run, wake_spuriously, kill } kind;
    unsigned part;
  };
  enum class Outcome : std::uint8_t { running, finished, reached_before, faulty };

  static constexpr unsigned kNobody = kParts;
  static constexpr std::size_t kStack = std::size_t{64} << 10U;
  static constexpr unsigned kMostSteps = 2000;            // of one execution
  static constexpr std::size_t kMostStates = 30'000'000;  // of one scenario

  static constexpr Word mixed(Word state, Word value) noexcept {
    state = (state ^ value) * 0xff51afd7ed558ccdU;
    return state ^ (state >> 32U) ^ (state << 23U);
  }

  // One execution.
  void execute();
  void start(unsigned part);
  void choose_who_goes_on();
  [[nodiscard]] bool can_go_on(unsigned part) const noexcept;
  void end_process(unsigned part) noexcept;
  void kill(unsigned part) noexcept;
  void end(Outcome outcome) noexcept { outcome_ = outcome; }
  [[nodiscard]] bool is_new_state();

  // In a process.
  void stop_before(Operation operation) noexcept;
  void go_on() noexcept;
  void leave() noexcept { home_ = std::move(home_).resume(); }
  void wait(Stand how) noexcept;
  void wait_for_change() noexcept;
  void learn(Word value) noexcept { processes_[running_].local = mixed(processes_[running_].local, value); }
  void check_access(const char* wrong, std::size_t place) noexcept;
  void see_all_of(View& shared, Process& process) noexcept;
  void take(const Line& line) noexcept;
  [[gnu::format(printf, 2, 3)]] void say(const char* format, ...) noexcept;
  void say_access(const char* what, std::size_t place, Word value, const char* how) noexcept;

  const Scenario* scenario_ = nullptr;
  Search search_;
  Memory memory_;
  std::array<Process, kParts> processes_;
  std::array<Line, 2> lines_;  // by holder
  View fenced_;                // what the last fence had seen
  bool unlinked_ = false;
  unsigned preemptions_ = 0;  // left
  unsigned spurious_ = 0;     // left
  unsigned running_ = kNobody;
  unsigned steps_ = 0;
  Operation next_ = Operation::of_kernel;  // that the running process stands before
  bool others_may_die_ = true;             // here, and not only since
  Outcome outcome_ = Outcome::running;
  Verdict verdict_;
  bool telling_ = false;

  // A fiber is never destroyed: that would unwind its stack through noexcept functions. The next one takes its place.
  union Fiber {
    Fiber() {}
    ~Fiber() {}
    boost::context::fiber context;
  };
  struct Stack {
    std::byte* bytes;
    boost::context::stack_context allocate() const noexcept {
      boost::context::stack_context context;
      context.size = kStack;
      context.sp = bytes + kStack;
      return context;
    }
    void deallocate(boost::context::stack_context&) const noexcept {}
  };
  std::array<Fiber, kParts> fibers_;
  std::vector<std::byte> stacks_ = std::vector<std::byte>(kParts * kStack);
  boost::context::fiber home_;
};

/// The one world of this program.
inline World& world() noexcept {
  static World only;
  return only;
}

/// The policy of the rings and the sleep protocol here; see nimsync/policy.hpp.
struct Modelled {
  using Word = std::uint64_t;

  static Word load_acquire(const Word* from) noexcept { return world().load(from, Order::ordered); }
  static Word load_relaxed(const Word* from) noexcept { return world().load(from, Order::relaxed); }
  static void store_release(Word* to, Word value) noexcept { world().store(to, value, Order::ordered); }
  static void store_relaxed(Word* to, Word value) noexcept { world().store(to, value, Order::relaxed); }
  static void compiler_fence() noexcept {}
  static void fence() noexcept { world().fence(); }
  template <std::size_t Size>
  static void copy(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
    world().copy(to, from, Size == 0 ? bytes : Size);
  }
  template <std::size_t Size>
  static void expect(const std::byte* /*payload*/) noexcept {}
};

/// What the sleep protocol asks of the system.
struct Kernel {
  LineNews drain() const noexcept { return world().drain(); }
  void ring() const noexcept { world().ring(world().self()); }
  bool membarrier() const noexcept {
    world().membarrier();
    return true;
  }
  bool is_removed() const noexcept { return world().is_unlinked(); }
};

}  // namespace nimsync::model
