#include "tests/faults/world.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace nimsync::testing {

namespace {

namespace fs = std::filesystem;

constexpr const char* kAsk = "ask";
constexpr const char* kAnswer = "answer";
constexpr const char* kPlain = "plain";
constexpr const char* kShm = "/dev/shm";

bool is_living(const std::string& name) {
  return name == kAsk || name == kAnswer;
}

std::string text_of_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::set<std::string> names_in(const std::string& folder, const std::string& prefix = {}) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::string name = entry.path().filename().string();
    if (name.starts_with(prefix)) names.insert(std::move(name));
  }
  return names;
}

std::string joined(const std::set<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all.empty() ? "nothing" : all;
}

std::string descriptors_in_words(pid_t pid) {
  std::string all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    all += " " + entry.path().filename().string() + "=" + fs::read_symlink(entry.path(), ignored).string();
  }
  return all;
}

/// The names of a channel's segments, by its definition; none of a sealed one.
std::vector<std::string> segments_of(const std::string& folder) {
  const auto json = nlohmann::json::parse(text_of_file(folder + "/definition"));
  if (json.at("sealed").get<bool>()) return {};
  return {json.at("forward").at("name").get<std::string>().substr(1),
          json.at("return").at("name").get<std::string>().substr(1)};
}

const char* word(Role role) {
  return role == Role::sender ? "sender" : "receiver";
}

std::span<const std::byte> bytes_of(const std::uint64_t& value) {
  return std::as_bytes(std::span(&value, 1));
}

/// Whether a message sent here arrives there, behind whatever is there already.
bool carries(Sender<Bytes>& sender, Receiver<Bytes>& receiver, std::uint64_t stamp) {
  if (!sender.try_send(bytes_of(stamp))) return false;
  std::span<const std::byte> message;
  while (receiver.try_receive(message)) {
    std::uint64_t value = 0;
    const bool is_whole = message.size() == sizeof value;
    if (is_whole) std::memcpy(&value, message.data(), sizeof value);
    receiver.release();
    if (!is_whole) return false;
    if (value == stamp) return true;
  }
  return false;
}

}  // namespace

World::World(std::vector<std::string> daemon_arguments) : daemon(std::move(daemon_arguments)) {
  for (const char* name : {kAsk, kAnswer}) {
    connect().create(name, {.size = 8}, {.capacity = 16, .layout = Layout::dense});
  }
  echo_ = std::make_unique<Child>([path = daemon.socket()] {
    auto asked = Registry::connect(path).receiver<std::uint64_t>(kAsk);
    auto answers = Registry::connect(path).sender<std::uint64_t>(kAnswer);
    for (std::uint64_t value = 0; asked.receive(value);) {
      if (!answers.send(value)) return 1;
    }
    return 0;
  });
  old_.emplace(connect());  // behind the fork: the child would keep the connection
  ask_.emplace(old_->sender<std::uint64_t>(kAsk));
  answer_.emplace(old_->receiver<std::uint64_t>(kAnswer));
  for (const std::string& complaint : exchange()) throw std::runtime_error(complaint);
  prefix_ = prefix();
  Complaints complaints;
  idle_descriptors_ = settled_descriptors(complaints);
  for (const std::string& complaint : complaints) throw std::runtime_error(complaint);
}

World::~World() {
  registry_.reset();
  watcher_.reset();
  held_.clear();
  echo_.reset();
}

// ---- before a scenario

void World::begin() {
  outcomes_.clear();
  fates_.clear();
  makers_.clear();
}

void World::make(const Wish& wish) {
  if (wish.options.sealed) makers_[wish.name] = daemon.pid();
  connect().create(wish.name, {.frames = wish.frames, .size = wish.frames ? 0U : 8U}, wish.options);
  fates_[wish.name] = Fate::there;
}

void World::hold(const std::string& name, Role role) {
  auto registry = connect();
  Ends& ends = held_[name];
  if (role == Role::sender) {
    ends.sender.emplace(registry.sender<Bytes>(name));
  } else {
    ends.receiver.emplace(registry.receiver<Bytes>(name));
    ends.sleeps = ends.receiver->fd() >= 0 && ends.receiver->arm();
    if (!ends.sleeps) throw std::runtime_error("cannot sleep");
  }
}

void World::watch() {
  watcher_.emplace(daemon.socket());
  if (watcher_->call("io.nimsync.registry.Watch", nlohmann::json::object(), true).contains("error")) {
    throw std::runtime_error("cannot watch");
  }
}

void World::intrude(const std::string& name, Role role) {
  const std::string line = folder(name) + (role == Role::sender ? "/data" : "/room");
  intruder_.reset(::open(line.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct flock lock {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  if (::fcntl(intruder_.get(), F_OFD_SETLK, &lock) != 0) throw std::runtime_error("cannot intrude");
}

void World::lose_memory(const std::string& name) const {
  for (const std::string& segment : segments_of(folder(name))) fs::remove(std::string(kShm) + "/" + segment);
}

std::string World::folder(const std::string& name) const {
  return daemon.state() + "/channels/" + name;
}

// ---- the steps

void World::attempt(const std::string& step, std::optional<Errc> foreseen, const std::function<void(Registry&)>& act) {
  Outcome outcome{.step = step, .error = std::nullopt, .said = "", .foreseen = false};
  try {
    if (!registry_) registry_.emplace(connect());
    act(*registry_);
    if (foreseen) outcome.said = "was to be refused, and was not";
  } catch (const Error& e) {
    outcome.error = e.errc();
    outcome.said = e.what();
    outcome.foreseen = foreseen == e.errc();
  }
  outcomes_.push_back(std::move(outcome));
}

void World::create(const Wish& wish) {
  fates_[wish.name] = Fate::unsure;
  if (wish.options.sealed) makers_[wish.name] = daemon.pid();
  attempt("create " + wish.name, std::nullopt, [&](Registry& registry) {
    registry.create(wish.name, {.frames = wish.frames, .size = wish.frames ? 0U : 8U}, wish.options);
    fates_[wish.name] = Fate::there;
  });
}

void World::open(const std::string& name, Role role) {
  attempt(std::string("open ") + word(role) + " of " + name, std::nullopt, [&](Registry& registry) {
    if (role == Role::sender) {
      held_[name].sender.emplace(registry.sender<Bytes>(name));
    } else {
      held_[name].receiver.emplace(registry.receiver<Bytes>(name));
    }
  });
}

void World::open_new(const std::string& name, Role role) {
  fates_.emplace(name, Fate::unsure);
  attempt(std::string("open ") + word(role) + " of " + name + " with creation", std::nullopt, [&](Registry& registry) {
    const Options options{.capacity = 4096};
    if (role == Role::sender) {
      held_[name].sender.emplace(registry.sender<Bytes>(name, options));
    } else {
      held_[name].receiver.emplace(registry.receiver<Bytes>(name, options));
    }
    fates_[name] = Fate::there;
  });
}

void World::open_taken(const std::string& name, Role role) {
  const Ends& ends = held_[name];
  const bool is_taken = role == Role::sender ? ends.sender.has_value() : ends.receiver.has_value();
  attempt(std::string("open ") + word(role) + " of " + name + " again",
          is_taken ? std::optional(Errc::in_use) : std::nullopt, [&](Registry& registry) {
            if (role == Role::sender) {
              static_cast<void>(registry.sender<Bytes>(name));
            } else {
              static_cast<void>(registry.receiver<Bytes>(name));
            }
          });
}

void World::remove(const std::string& name, bool force) {
  fates_[name] = Fate::unsure;
  attempt("remove " + name, std::nullopt, [&](Registry& registry) {
    registry.remove(name, force);
    fates_[name] = Fate::gone;
  });
}

void World::remove_used(const std::string& name) {
  attempt("remove " + name + ", which is in use", Errc::in_use, [&](Registry& registry) { registry.remove(name); });
}

namespace {

/// Of a channel that nothing is wrong with.
void require_sound(const ChannelInfo& channel) {
  if (channel.state == "damaged") throw Error(Errc::corrupted, "channel '" + channel.name + "' is said to be damaged");
  if (is_living(channel.name) && (!channel.sender || !channel.receiver)) {
    throw Error(Errc::corrupted, "a holder of channel '" + channel.name + "' is left out");
  }
}

}  // namespace

void World::ask_everything() {
  attempt("info", std::nullopt, [](Registry& registry) { static_cast<void>(registry.info()); });
  attempt("list", std::nullopt, [](Registry& registry) {
    bool has_all = false;
    for (const ChannelInfo& each : registry.list()) {
      has_all = has_all || each.name == kAsk;
      require_sound(each);
    }
    if (!has_all) throw Error(Errc::failed, "the list has not got all channels");
  });
  attempt("stat", std::nullopt, [](Registry& registry) { require_sound(registry.stat(kAsk)); });
}

void World::drop(const std::string& name, Role role) {
  if (role == Role::sender) {
    held_[name].sender.reset();
  } else {
    held_[name].receiver.reset();
  }
}

// ---- a daemon that is traced from the start

World::Start World::start_traced(Tracer::Decide decide) const {
  std::array<int, 2> gate{};
  if (::pipe2(gate.data(), O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
  const os::Descriptor wait(gate[0]);
  os::Descriptor go(gate[1]);
  const std::vector<std::string> command = daemon.command();
  const std::string log = daemon.folder() + "/stderr";
  Start start;
  start.daemon = std::make_unique<Child>([&] {
    go.reset();
    char byte = 0;
    while (::read(wait.get(), &byte, 1) < 0) continue;
    const os::Descriptor file(::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600));
    ::dup2(file.get(), STDERR_FILENO);
    std::vector<char*> arguments;
    for (const std::string& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
    arguments.push_back(nullptr);
    ::fcntl(file.get(), F_SETFD, FD_CLOEXEC);
    ::execv(arguments[0], arguments.data());
    return 127;
  });
  start.tracer = std::make_unique<Tracer>(start.daemon->pid(), std::move(decide));
  go.reset();
  return start;
}

bool World::comes_up(const Start& start) const {
  bool answers = false;
  const bool settled = eventually([&] {
    try {
      answers = connect().info().pid == start.daemon->pid();
    } catch (const Error&) {
      answers = false;
    }
    return answers || start.tracer->has_ended();
  });
  if (!settled) throw std::runtime_error("nimsyncd neither answers nor ends");
  return answers;
}

std::string World::said_at_start() const {
  return text_of_file(daemon.folder() + "/stderr");
}

// ---- what must hold

bool World::has_lost_its_daemon(const std::string& name) const {
  const auto maker = makers_.find(name);
  return maker != makers_.end() && maker->second != daemon.pid();
}

bool World::is_held(const std::string& name) const {
  const auto ends = held_.find(name);
  return ends != held_.end() && (ends->second.sender || ends->second.receiver);
}

std::string World::prefix() const {
  const std::string name = segments_of(folder(kAsk)).front();  // nimsync.INSTANCE.UID.ID.f
  return name.substr(0, name.rfind('.', name.rfind('.') - 1) + 1);
}

std::vector<std::string> World::exchange() {
  for (int i = 0; i < 3; ++i) {
    if (const Status sent = ask_->send(++asked_, kWatchdog); !sent) {
      return {"the living sender was told " + std::string(name(sent))};
    }
  }
  while (answered_ < asked_) {
    std::uint64_t value = 0;
    const Status received = answer_->receive(value, kWatchdog);
    if (!received) return {"the living receiver was told " + std::string(name(received))};
    if (value != ++answered_) {
      return {"the living receiver got message " + std::to_string(value) + " and not " + std::to_string(answered_)};
    }
  }
  return {};
}

/// How many descriptors the daemon has while only `old_` is connected.
std::size_t World::settled_descriptors(Complaints& complaints) {
  if (!eventually([&] { return old_->info().connections == 1; })) {
    complaints.push_back("the registry keeps connections of clients that are gone");
  }
  return descriptors_of(static_cast<pid_t>(old_->info().pid));
}

std::vector<std::string> World::inspect() {
  registry_.reset();
  watcher_.reset();
  intruder_.reset();
  Complaints complaints = exchange();
  if (!complaints.empty()) return complaints;  // it would only hang again
  try {
    if (old_->info().pid != daemon.pid()) complaints.push_back("an old client got to another daemon");
    inspect_leases(complaints);
    inspect_names(complaints);
    inspect_machine(complaints, "");
    take_all_away(complaints);
    make({.name = kPlain});
    inspect_use(kPlain, complaints);
    old_->remove(kPlain);
    for (auto& [name, fate] : fates_) fate = Fate::gone;
    inspect_machine(complaints, ", with the scenario's channels removed");
    const std::size_t descriptors = settled_descriptors(complaints);
    if (descriptors != idle_descriptors_) {
      complaints.push_back("the daemon has " + std::to_string(descriptors) + " descriptors and not " +
                           std::to_string(idle_descriptors_) + ":" + descriptors_in_words(daemon.pid()));
    }
  } catch (const std::exception& e) {
    complaints.push_back(std::string("a plain request failed: ") + e.what());
  }
  return complaints;
}

std::vector<std::string> World::inspect_after_restart() {
  daemon.kill();
  daemon.start();
  return inspect();
}

void World::inspect_leases(Complaints& complaints) {
  const auto holder_is = [&](const std::optional<Peer>& peer, pid_t pid) { return peer && peer->pid == pid; };
  const ChannelInfo ask = old_->stat(kAsk);
  const ChannelInfo answer = old_->stat(kAnswer);
  if (!holder_is(ask.sender, ::getpid()) || !holder_is(answer.receiver, ::getpid()) ||
      !holder_is(ask.receiver, echo_->pid()) || !holder_is(answer.sender, echo_->pid())) {
    complaints.push_back("a living holder is not seen");
  }
  for (const char* name : {kAsk, kAnswer}) {
    for (const Role role : {Role::sender, Role::receiver}) {
      try {
        auto registry = connect();
        if (role == Role::sender) static_cast<void>(registry.sender<std::uint64_t>(name));
        if (role == Role::receiver) static_cast<void>(registry.receiver<std::uint64_t>(name));
        complaints.push_back(std::string("a second ") + word(role) + " of " + name + " was let in");
      } catch (const Error& e) {
        if (e.errc() != Errc::in_use) complaints.push_back(std::string("a second ") + word(role) + ": " + e.what());
      }
    }
  }
}

void World::inspect_names(Complaints& complaints) {
  std::set<std::string> listed;
  for (auto& [name, fate] : fates_) {
    if (has_lost_its_daemon(name) && !is_held(name)) fate = Fate::gone;
  }
  for (const ChannelInfo& each : old_->list()) {
    listed.insert(each.name);
    if ((each.state == "orphaned") != has_lost_its_daemon(each.name)) {
      complaints.push_back("channel " + each.name + " is " + each.state);
    }
    if (each.state == "damaged") complaints.push_back("channel " + each.name + " is damaged");
    if (!is_living(each.name) && !fates_.contains(each.name)) {
      complaints.push_back("there is a channel " + each.name + " that nobody made");
    }
  }
  for (const auto& [name, fate] : fates_) {
    if (fate == Fate::there && !listed.contains(name)) complaints.push_back("channel " + name + " is lost");
    if (fate == Fate::gone && listed.contains(name)) complaints.push_back("channel " + name + " is back");
    if (listed.contains(name) && has_lost_its_daemon(name)) {
      inspect_orphan(name, complaints);
    } else if (listed.contains(name)) {
      inspect_use(name, complaints);
    } else {
      inspect_removed(name, complaints);
    }
  }
  for (const char* name : {kAsk, kAnswer}) {
    if (!listed.contains(name)) complaints.push_back(std::string("channel ") + name + " is lost");
  }
}

void World::inspect_machine(Complaints& complaints, const char* when) const {
  std::set<std::string> wanted;
  for (const std::string& name : names_in(daemon.state() + "/channels")) {
    if (name.starts_with('.')) {
      complaints.push_back("a leaked folder " + name + when);
      continue;
    }
    const std::set<std::string> files = names_in(folder(name));
    for (const char* file : {"definition", "data", "room"}) {
      if (!files.contains(file)) complaints.push_back("channel " + name + " has no " + file + when);
    }
    for (const std::string& file : files) {
      static const std::set<std::string> known{"definition", "data", "room", "sender", "receiver"};
      if (!known.contains(file)) complaints.push_back("a leaked file " + name + "/" + file + when);
    }
    if (!files.contains("definition")) continue;
    for (std::string& segment : segments_of(folder(name))) wanted.insert(std::move(segment));
  }
  const std::set<std::string> found = names_in(kShm, prefix_);
  if (found != wanted) {
    complaints.push_back("the segments are " + joined(found) + ", and the channels' are " + joined(wanted) + when);
  }
  static const std::set<std::string> around{"lock", "channels"};
  if (const auto files = names_in(daemon.state()); files != around) {
    complaints.push_back("the state folder has " + joined(files) + when);
  }
}

/// A channel that is there is whole: sides that are held are refused to others, the others can be had, and a message
/// goes through.
void World::inspect_use(const std::string& name, Complaints& complaints) {
  Ends& ends = held_[name];
  auto registry = connect();
  const auto take = [&](auto& end, Role role, const std::function<void()>& open) {
    const bool was_held = end.has_value();
    try {
      open();
      if (was_held) complaints.push_back("a second " + std::string(word(role)) + " of " + name + " was let in");
    } catch (const Error& e) {
      if (!was_held || e.errc() != Errc::in_use) {
        complaints.push_back(std::string(word(role)) + " of " + name + ": " + e.what());
      }
    }
  };
  take(ends.sender, Role::sender, [&] {
    auto taken = registry.sender<Bytes>(name);
    if (!ends.sender) ends.sender.emplace(std::move(taken));
  });
  take(ends.receiver, Role::receiver, [&] {
    auto taken = registry.receiver<Bytes>(name);
    if (!ends.receiver) ends.receiver.emplace(std::move(taken));
  });
  if (ends.sender && ends.receiver && !carries(*ends.sender, *ends.receiver, ++stamp_)) {
    complaints.push_back("channel " + name + " carries no message");
  }
  held_.erase(name);
}

/// Its holders go on, and nobody joins them, also not where a side is free.
void World::inspect_orphan(const std::string& name, Complaints& complaints) {
  Ends& ends = held_[name];
  auto registry = connect();
  for (const Role role : {Role::sender, Role::receiver}) {
    try {
      if (role == Role::sender) static_cast<void>(registry.sender<Bytes>(name));
      if (role == Role::receiver) static_cast<void>(registry.receiver<Bytes>(name));
      complaints.push_back("a " + std::string(word(role)) + " of the orphan " + name + " was let in");
    } catch (const Error& e) {
      if (e.errc() != Errc::corrupted) complaints.push_back(std::string(word(role)) + " of an orphan: " + e.what());
    }
  }
  const auto judge = [&](const char* who, Status status, bool has_peer) {
    if (status == Status::ok || (status == Status::peer_lost && !has_peer)) return;  // one that never came isn't lost
    complaints.push_back(std::string("the ") + who + " of the orphan " + name + " is told " +
                         std::string(nimsync::name(status)));
  };
  if (ends.sender) judge("sender", ends.sender->check(), ends.receiver.has_value());
  if (ends.receiver) judge("receiver", ends.receiver->check(), ends.sender.has_value());
  if (ends.sender && ends.receiver && !carries(*ends.sender, *ends.receiver, ++stamp_)) {
    complaints.push_back("the orphan " + name + " carries no message");
  }
  held_.erase(name);
}

/// Who held a side of a channel that is gone learns it, also when it sleeps.
void World::inspect_removed(const std::string& name, Complaints& complaints) {
  Ends& ends = held_[name];
  if (ends.receiver) {
    constexpr int kWatchdog_ms = 10'000;
    pollfd line{.fd = ends.receiver->fd(), .events = POLLIN, .revents = 0};
    if (ends.sleeps && ::poll(&line, 1, kWatchdog_ms) != 1) {
      complaints.push_back("the receiver of " + name + ", which is removed, is never woken");
    }
    if (const Status status = ends.receiver->check(); status != Status::removed) {
      complaints.push_back("the receiver of " + name + ", which is removed, is told " +
                           std::string(nimsync::name(status)));
    }
  }
  if (ends.sender) {
    if (const Status status = ends.sender->check(); status != Status::removed) {
      complaints.push_back("the sender of " + name + ", which is removed, is told " +
                           std::string(nimsync::name(status)));
    }
  }
  held_.erase(name);
}

void World::take_all_away(Complaints& complaints) {
  held_.clear();
  for (const ChannelInfo& each : old_->list()) {
    if (is_living(each.name)) continue;
    try {
      old_->remove(each.name);
    } catch (const Error& e) {
      complaints.push_back(std::string("cannot remove: ") + e.what());
      old_->remove(each.name, true);
    }
  }
}

}  // namespace nimsync::testing
