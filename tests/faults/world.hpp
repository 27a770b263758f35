// World: a registry with clients, whose daemon may fail at any point; and what must hold of it all afterwards.
//
// Two channels live through everything: "ask" and "answer", between this process and a child that echoes. A scenario's
// steps make, open and remove others; each step may fail, and is remembered with what its client was told. Then
// inspect() compares what there is on the machine and in the registry with that.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nimsync/nimsync.hpp"
#include "os/descriptor.hpp"
#include "tests/faults/tracer.hpp"
#include "tests/service/private_daemon.hpp"
#include "tests/service/raw_client.hpp"

namespace nimsync::testing {

/// A channel as a scenario makes it: records of 8 bytes unless it says frames.
struct Wish {
  std::string name;
  Options options = {.capacity = 16, .layout = Layout::dense};
  bool frames = false;
};

/// What a client was told at a step: nothing of an error is a success.
struct Outcome {
  std::string step;
  std::optional<Errc> error;
  std::string said;
  bool foreseen = false;  // an error that the step is to end with
};

class World {
 public:
  explicit World(std::vector<std::string> daemon_arguments = {});
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  PrivateDaemon daemon;

  // -- Before a scenario, while all is well; these throw.

  /// Forgets the last scenario's outcomes.
  void begin();
  void make(const Wish& wish);
  /// Takes a side, and keeps it; a receiver sleeps from then on.
  void hold(const std::string& name, Role role);
  /// A client that is told of everything, and reads nothing of it.
  void watch();
  /// An intruder who blocks a side by a lock that is no lease.
  void intrude(const std::string& name, Role role);
  /// Takes the names of a channel's segments away.
  void lose_memory(const std::string& name) const;
  [[nodiscard]] std::string folder(const std::string& name) const;
  /// Says what there is to be of a channel, when it wasn't a step that made it so. A sealed one whose daemon is gone is
  /// gone, whatever is said of it, unless somebody holds it: then it is an orphan.
  enum class Fate : std::uint8_t { there, gone, unsure };
  void expect(const std::string& name, Fate fate) { fates_[name] = fate; }

  // -- The steps of a scenario, over one connection that is made by the first of them.

  void create(const Wish& wish);
  void open(const std::string& name, Role role);
  /// Creates it of frames when it is absent.
  void open_new(const std::string& name, Role role);
  /// An opening that must be refused, if the side was had.
  void open_taken(const std::string& name, Role role);
  void remove(const std::string& name, bool force = false);
  void remove_used(const std::string& name);
  void ask_everything();
  /// Gives a side back.
  void drop(const std::string& name, Role role);
  [[nodiscard]] const std::vector<Outcome>& outcomes() const { return outcomes_; }

  // -- A daemon that is traced from its first system call on.

  struct Start {
    std::unique_ptr<Child> daemon;
    std::unique_ptr<Tracer> tracer;
  };
  Start start_traced(Tracer::Decide decide) const;
  /// Waits until it answers or has ended; true when it answers.
  [[nodiscard]] bool comes_up(const Start& start) const;
  /// What the last one said on stderr.
  [[nodiscard]] std::string said_at_start() const;

  // -- What must hold. Each returns complaints; none is good.

  /// The living channels' traffic, with no registry or any.
  std::vector<std::string> exchange();
  /// All of it, of a daemon that is up; afterwards only the living channels are there.
  std::vector<std::string> inspect();
  /// Once more, when a first look was allowed to find remains that the next start sweeps.
  std::vector<std::string> inspect_after_restart();

 private:
  struct Ends {
    std::optional<Sender<Bytes>> sender;
    std::optional<Receiver<Bytes>> receiver;
    bool sleeps = false;  // the receiver, on its descriptor
  };
  using Complaints = std::vector<std::string>;

  void attempt(const std::string& step, std::optional<Errc> foreseen, const std::function<void(Registry&)>& act);
  [[nodiscard]] Registry connect() const { return Registry::connect(daemon.socket()); }
  [[nodiscard]] std::string prefix() const;
  [[nodiscard]] bool has_lost_its_daemon(const std::string& name) const;
  [[nodiscard]] bool is_held(const std::string& name) const;
  std::size_t settled_descriptors(Complaints& complaints);
  void inspect_leases(Complaints& complaints);
  void inspect_names(Complaints& complaints);
  void inspect_machine(Complaints& complaints, const char* when) const;
  void inspect_use(const std::string& name, Complaints& complaints);
  void inspect_orphan(const std::string& name, Complaints& complaints);
  void inspect_removed(const std::string& name, Complaints& complaints);
  void take_all_away(Complaints& complaints);

  std::unique_ptr<Child> echo_;
  std::optional<Registry> old_;  // connected before whatever happens
  std::optional<Sender<std::uint64_t>> ask_;
  std::optional<Receiver<std::uint64_t>> answer_;
  std::uint64_t asked_ = 0;
  std::uint64_t answered_ = 0;
  std::uint64_t stamp_ = 0;
  std::size_t idle_descriptors_ = 0;
  std::string prefix_;  // of the segments of this daemon's channels

  std::optional<Registry> registry_;  // the scenario's
  std::optional<RawClient> watcher_;
  os::Descriptor intruder_;
  std::map<std::string, Ends> held_;
  std::map<std::string, Fate> fates_;
  std::map<std::string, pid_t> makers_;  // of sealed channels: the daemon that keeps their memory
  std::vector<Outcome> outcomes_;
};

}  // namespace nimsync::testing
