#include "daemon/session.hpp"

#include <fnmatch.h>
#include <unistd.h>

#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

#include "daemon/interface.hpp"
#include "daemon/log.hpp"
#include "daemon/names.hpp"
#include "os/socket.hpp"

namespace nimsync::registry {

namespace {

using protocol::Json;
using protocol::Role;

constexpr std::size_t kReadBytes = std::size_t{16} << 10;
constexpr std::size_t kListPart = 32;     // channels in one reply: with the longest names and types below the limit
constexpr std::size_t kMaxEvents = 1024;  // that a watcher may leave unread
constexpr std::size_t kMaxPattern = 100;
constexpr const char* kService = "org.varlink.service";

/// The name of a process's main thread; "?" where /proc hides it.
std::string command_of(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string command;
  return std::getline(file, command) && !command.empty() ? command : "?";
}

}  // namespace

void Service::tell(const Definition& definition, const protocol::WatchReply& event) const {
  for (Session* watcher : std::set<Session*>(watchers)) {  // a copy: telling may end one
    if (Catalog::may_see(definition, watcher->caller())) watcher->tell(event);
  }
}

void Service::remove(const Definition& definition) {
  const Definition removed = definition;  // the catalog's own goes with it
  store.remove(removed);
  catalog.erase(removed.name);
  tell(removed, {.what = "removed", .name = removed.name, .role = std::nullopt});
}

bool Service::settle(std::string_view name) {
  const Definition* definition = catalog.find(name);
  if (definition == nullptr || !store.is_over(*definition)) return false;
  spdlog::info("dropped the orphan channel={}", name);
  remove(*definition);
  return true;
}

Making::Making(Service& service, Definition wanted) : service_(service), creation_(service.store, std::move(wanted)) {
  service_.catalog.reserve(creation_.definition());
}

Making::~Making() {
  service_.catalog.abandon(creation_.definition());
}

Definition Making::finish() {
  Definition made = creation_.finish();
  service_.catalog.insert(made);
  service_.tell(made, {.what = "created", .name = made.name, .role = std::nullopt});
  return made;
}

std::size_t Service::settle_all() {
  std::size_t settled = 0;
  std::string from;
  while (const Definition* each = catalog.at_or_after(from)) {
    from = each->name + '\0';
    if (settle(each->name)) ++settled;
  }
  return settled;
}

Session::Session(Service& service, Socket socket, Caller caller, std::function<void(Session*)> on_end)
    : service_(service), socket_(std::move(socket)), caller_(std::move(caller)), on_end_(std::move(on_end)) {
  fd_.reset(socket_.native_handle());
}

Session::~Session() {
  static_cast<void>(fd_.release());
  service_.watchers.erase(this);
  on_end_(this);
}

void Session::start() {
  boost::system::error_code error;
  socket_.non_blocking(true, error);
  wait_readable();
}

void Session::refuse(Errc code, const std::string& sentence) {
  boost::system::error_code error;
  socket_.non_blocking(true, error);
  end_when_sent();
  outgoing_.push_back({.bytes = protocol::error_reply(code, sentence), .descriptors = {}});
  flush();
}

void Session::stop() {
  static_cast<void>(fd_.release());
  boost::system::error_code error;
  socket_.close(error);
  outgoing_.clear();
  job_ = nullptr;
  service_.watchers.erase(this);
}

void Session::wait_readable() {
  if (!fd_) return;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const boost::system::error_code& error) {
    if (!error) self->read();
  });
}

void Session::read() {
  std::array<std::byte, kReadBytes> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by the kernel
  std::vector<os::Descriptor> unsolicited;   // closed as this returns
  const os::Transfer got = os::receive_some(fd_, buffer, unsolicited);
  if (got.error == EAGAIN) return wait_readable();
  if (got.error != 0) return stop();
  if (watching_) return wait_readable();  // nothing is asked of a watcher; what it sends is dropped
  splitter_.add(std::span(buffer).first(got.bytes));
  serve();
}

/// Answers what has been received, as far as the client takes the answers.
void Session::serve() {
  while (fd_ && !job_ && outgoing_.empty() && !watching_) {
    try {
      const auto message = splitter_.next();
      if (!message) return wait_readable();
      handle(protocol::parse_call(*message));
    } catch (const protocol::Malformed& e) {
      oneway_ = false;
      end_when_sent();
      reply_error(protocol::error_reply(Errc::invalid, e.what()));
    }
  }
}

void Session::handle(const protocol::Call& call) {
  oneway_ = call.oneway;
  try {
    if (call.interface == kService) return handle_service(call);
    if (call.interface == protocol::kInterface) return handle_own(call);
    reply_error(protocol::error_reply("org.varlink.service.InterfaceNotFound", {{"interface", call.interface}}));
  } catch (const protocol::InvalidParameter& e) {
    reply_error(protocol::error_reply("org.varlink.service.InvalidParameter", {{"parameter", e.what()}}));
  } catch (const Error& e) {
    reply_refusal(e);
  } catch (const std::exception& e) {
    // Out of memory, say. One request fails; the others' registry stays up.
    spdlog::error("method={} failed: {}", call.method, e.what());
    reply_error(protocol::error_reply(Errc::failed, std::string("the registry failed: ") + e.what()));
  }
}

void Session::handle_own(const protocol::Call& call) {
  if (call.method == "Create") return create(call.parameters.get<protocol::CreateCall>());
  if (call.method == "Open") return open(call.parameters.get<protocol::OpenCall>());
  if (call.method == "List") return list(call.parameters.get<protocol::ListCall>(), call.more);
  if (call.method == "Stat") {
    const auto name = call.parameters.get<protocol::StatCall>().name;
    service_.settle(name);
    const Definition& definition = service_.catalog.get(name);
    if (!Catalog::may_see(definition, caller_)) Catalog::require_use(definition, Role::receiver, caller_);
    return reply(protocol::ChannelReply{service_.store.describe(definition)});
  }
  if (call.method == "Remove") return remove(call.parameters.get<protocol::RemoveCall>());
  if (call.method == "Info") return reply(service_.info());
  if (call.method == "Watch") {
    if (!call.more) return reply_error(protocol::error_reply("org.varlink.service.ExpectedMore", Json::object()));
    return watch();
  }
  reply_error(protocol::error_reply("org.varlink.service.MethodNotFound", {{"method", call.method}}));
}

void Session::handle_service(const protocol::Call& call) {
  if (call.method == "GetInfo") {
    return reply({{"vendor", "nimsync"},
                  {"product", "nimsyncd"},
                  {"version", kVersion},
                  {"url", ""},
                  {"interfaces", {kService, protocol::kInterface}}});
  }
  if (call.method != "GetInterfaceDescription") {
    return reply_error(protocol::error_reply("org.varlink.service.MethodNotFound", {{"method", call.method}}));
  }
  const auto interface = call.parameters.find("interface");
  if (interface == call.parameters.end() || !interface->is_string()) throw protocol::InvalidParameter("interface");
  if (*interface == protocol::kInterface) return reply({{"description", kRegistryInterface}});
  if (*interface == kService) return reply({{"description", kServiceInterface}});
  reply_error(protocol::error_reply("org.varlink.service.InterfaceNotFound", {{"interface", *interface}}));
}

void Session::run_job() {
  boost::asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (!self->job_ || !self->outgoing_.empty()) return;
    Job job = std::exchange(self->job_, nullptr);  // here while it runs: what it does may end the session
    bool done = true;
    try {
      done = job();
    } catch (const Error& e) {
      self->reply_refusal(e);
    } catch (const std::exception& e) {
      spdlog::error("a request failed: {}", e.what());
      self->reply_error(protocol::error_reply(Errc::failed, std::string("the registry failed: ") + e.what()));
    }
    if (!self->fd_) return;
    if (done) {
      job = nullptr;  // and with it what it held: the next request finds the name free
      return self->serve();
    }
    self->job_ = std::move(job);
    self->run_job();
  });
}

Definition Session::define(const protocol::CreateCall& call) {
  const auto group = group_number(call.rights.group);
  try {
    return service_.catalog.define(call, group, caller_);
  } catch (const Error& e) {
    // What is over takes nobody's place.
    if (e.errc() != Errc::over_limit || service_.settle_all() == 0) throw;
  }
  return service_.catalog.define(call, group, caller_);
}

void Session::make(const protocol::CreateCall& call, std::function<void(const Definition&)> then) {
  Definition definition = define(call);
  definition.created = std::time(nullptr);

  auto making = std::make_shared<Making>(service_, std::move(definition));
  const auto step = [this, making, then = std::move(then)] {
    if (!making->step()) return false;
    const Definition made = making->finish();
    spdlog::info("created channel={} layout={} size={} capacity={} uid={} pid={}", made.name,
                 name(made.shape.geometry.layout), made.shape.geometry.size, made.shape.geometry.capacity, caller_.uid,
                 caller_.pid);
    then(made);
    return true;
  };
  if (step()) return;  // small ones are made at once
  job_ = step;
  run_job();
}

void Session::create(const protocol::CreateCall& call) {
  service_.settle(call.name);
  if (service_.catalog.is_reserved(call.name)) {
    job_ = [this, call] {
      if (service_.catalog.is_reserved(call.name)) return false;
      static_cast<void>(define(call));  // says what is there
      throw Error(Errc::failed, "channel '" + call.name + "' was being made by another, and that failed; try again");
    };
    return run_job();
  }
  make(call, [this](const Definition& made) { reply(protocol::ChannelReply{describe_new(made)}); });
}

void Session::open(const protocol::OpenCall& call) {
  service_.settle(call.name);
  if (service_.catalog.is_reserved(call.name)) {
    job_ = [this, call] {
      if (service_.catalog.is_reserved(call.name)) return false;
      if (service_.catalog.find(call.name) == nullptr) {
        throw Error(Errc::failed, "channel '" + call.name + "' was being made by another, and that failed; try again");
      }
      open_existing(call);
      return true;
    };
    return run_job();
  }
  require_reader();
  if (call.create && call.expect && service_.catalog.find(call.name) == nullptr) {
    return make({.name = call.name, .shape = *call.expect, .rights = *call.create},
                [this, role = call.role](const Definition& made) { grant(made, role); });
  }
  open_existing(call);
}

void Session::open_existing(const protocol::OpenCall& call) {
  const Definition& definition = service_.catalog.get(call.name);
  Catalog::require_use(definition, call.role, caller_);
  if (call.expect) Catalog::require_match(definition, *call.expect);
  grant(definition, call.role);
}

void Session::require_reader() const {
  // Descriptors in a reply that nobody reads count against the whole user (ETOOMANYREFS).
  if (sent_descriptors_ && os::unread(fd_) != 0) {
    throw Error(Errc::over_limit, "the reply to the last Open has not been read; read it first");
  }
  // Those in one that doesn't go out are descriptors of this process.
  if (!os::has_room(fd_)) throw Error(Errc::over_limit, "earlier replies have not been read; read them first");
}

void Session::grant(const Definition& definition, Role role) {
  require_reader();
  const protocol::Peer peer{.pid = caller_.pid, .uid = caller_.uid, .command = command_of(caller_.pid)};
  auto granted = service_.store.grant(definition, role, peer);
  protocol::ChannelReply answer{service_.store.describe(definition)};
  reply(answer, false, {std::make_move_iterator(granted.begin()), std::make_move_iterator(granted.end())});
  if (service_.opened.admits()) {
    spdlog::info("opened channel={} role={} uid={} pid={}{}", definition.name, protocol::name(role), caller_.uid,
                 caller_.pid, service_.opened.left_out());
  }
  service_.tell(definition, {.what = "opened", .name = definition.name, .role = role});
}

void Session::list(const protocol::ListCall& call, bool more) {
  if (call.pattern.size() > kMaxPattern) throw Error(Errc::invalid, "a pattern has at most 100 characters");
  // A part each time that the part before has gone out: ten thousand channels take neither memory nor the loop.
  job_ = [this, pattern = call.pattern, more, from = std::string()]() mutable {
    protocol::ListReply part;
    const Definition* next = service_.catalog.at_or_after(from);
    const std::size_t most = more ? kListPart : service_.catalog.size() + 1;
    for (; next != nullptr && part.channels.size() < most; next = service_.catalog.at_or_after(from)) {
      from = next->name + '\0';
      if (service_.settle(next->name)) continue;
      if (!Catalog::may_see(*next, caller_)) continue;
      if (!pattern.empty() && ::fnmatch(pattern.c_str(), next->name.c_str(), 0) != 0) continue;
      part.channels.push_back(service_.store.describe(*next));
      if (!more && part.channels.size() > kListPart) {
        throw Error(Errc::over_limit, "the list is too long for one reply; call List with more");
      }
    }
    const bool last = next == nullptr;
    reply(part, !last);
    return last;
  };
  run_job();
}

void Session::remove(const protocol::RemoveCall& call) {
  const Definition definition = service_.catalog.get(call.name);
  Catalog::require_ownership(definition, caller_);
  for (const Role role : {Role::sender, Role::receiver}) {
    if (call.force) break;
    const auto holder = service_.store.holder(definition, role);
    if (!holder) continue;
    throw Error(Errc::in_use, "channel '" + definition.name + "' is in use: its " + protocol::name(role) + " is pid " +
                                  std::to_string(holder->pid) + " (" + holder->command + "), uid " +
                                  std::to_string(holder->uid) + "; end it, or force the removal");
  }
  service_.remove(definition);
  spdlog::info("removed channel={} force={} uid={} pid={}", definition.name, call.force, caller_.uid, caller_.pid);
  reply(Json::object());
}

void Session::watch() {
  watching_ = true;
  service_.watchers.insert(this);
  reply(protocol::WatchReply{.what = "watching", .name = "", .role = std::nullopt}, true);
  wait_readable();  // to learn of its end
}

void Session::tell(const protocol::WatchReply& event) {
  if (outgoing_.size() >= kMaxEvents) {
    spdlog::warn("disconnected a watcher that does not read uid={} pid={}", caller_.uid, caller_.pid);
    return stop();
  }
  reply(event, true);
}

void Session::reply(Json parameters, bool continues, std::vector<os::Descriptor> descriptors) {
  if (oneway_ || !fd_) return;
  outgoing_.push_back(
      {.bytes = protocol::reply(std::move(parameters), continues), .descriptors = std::move(descriptors)});
  flush();
}

void Session::reply_error(const std::string& bytes) {
  if (oneway_ || !fd_) return;
  outgoing_.push_back({.bytes = bytes, .descriptors = {}});
  flush();
}

void Session::reply_refusal(const Error& error) {
  const bool is_told = error.errc() == Errc::denied || error.errc() == Errc::over_limit;
  if (is_told && service_.refused.admits()) {
    spdlog::warn("refused error={} uid={} pid={}{}: {}", row(error.errc()).varlink, caller_.uid, caller_.pid,
                 service_.refused.left_out(), error.what());
  }
  reply_error(protocol::error_reply(error.errc(), error.what()));
}

void Session::flush() {
  if (writing_) return;
  while (fd_ && !outgoing_.empty()) {
    Outgoing& first = outgoing_.front();
    std::vector<int> descriptors;
    if (sent_ == 0) {
      for (const os::Descriptor& each : first.descriptors) descriptors.push_back(each.get());
    }
    const os::Transfer put = os::send_some(fd_, std::as_bytes(std::span(first.bytes)).subspan(sent_), descriptors);
    if (put.error == EAGAIN) {
      writing_ = true;
      socket_.async_wait(Socket::wait_write, [self = shared_from_this()](const boost::system::error_code& error) {
        self->writing_ = false;
        if (error) return;
        self->flush();
        if (!self->outgoing_.empty()) return;
        return self->job_ ? self->run_job() : self->serve();
      });
      return;
    }
    if (put.error == ETOOMANYREFS && sent_ == 0) {
      first = {.bytes = protocol::error_reply(Errc::no_space, "too many descriptors are under way; read the replies"),
               .descriptors = {}};
      continue;
    }
    if (put.error != 0) return stop();
    if (!descriptors.empty()) {
      sent_descriptors_ = true;
      first.descriptors.clear();  // the lease is the client's now
    }
    sent_ += put.bytes;
    if (sent_ == first.bytes.size()) {
      outgoing_.pop_front();
      sent_ = 0;
    }
  }
  if (ending_) stop();
}

}  // namespace nimsync::registry
