#include "daemon/server.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <limits>
#include <random>
#include <string_view>
#include <utility>

#include "daemon/interface.hpp"
#include "daemon/log.hpp"
#include "daemon/supervisor.hpp"
#include "os/line.hpp"
#include "os/socket.hpp"

namespace nimsync::registry {

namespace {

constexpr std::chrono::milliseconds kAcceptAgain{100};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// The path that a socket is bound to.
std::string path_of(int fd) {
  sockaddr_un address{};
  socklen_t length = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0 || address.sun_family != AF_UNIX)
    return {};
  return static_cast<const char*>(address.sun_path);
}

/// Of one uid: what is configured, and no more than half of what this process may have. A connection takes a
/// descriptor, and others shall get in too.
std::uint64_t connections_limit(const Limits& limits) {
  constexpr std::uint64_t kLeast = 1;
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return limits.connections;
  return std::min(limits.connections, std::max<std::uint64_t>(kLeast, descriptors.rlim_cur / 2));
}

DescriptorStore descriptor_store(std::map<std::string, os::Descriptor> kept) {
  if (!supervisor::keeps_descriptors()) return {.kept = std::move(kept)};
  return {.kept = std::move(kept), .keep = supervisor::keep, .forget = supervisor::forget};
}

std::uint64_t random_bits() {
  static std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

/// A folder that nobody else may write into, made when it is absent: for sockets in places where others may write. The
/// system's is open to all, as its socket is.
void require_own_folder(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), 0700) == 0) {
    if (::chmod(path.c_str(), mode) != 0) os::fail(errno, "cannot set the mode of " + path);  // whatever the umask is
  } else if (errno != EEXIST) {
    os::fail(errno, "cannot make the folder " + path);
  }
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) os::fail(errno, "cannot look at the folder " + path);
  if (!S_ISDIR(st.st_mode) || st.st_uid != ::geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    throw Error(Errc::denied, "the folder " + path + " must belong to uid " + std::to_string(::geteuid()) +
                                  " and be writable by nobody else");
  }
}

}  // namespace

std::string default_socket() {
  const std::string file = "/nimsync/registry.sock";
  if (::geteuid() == 0 || !environment("RUNTIME_DIRECTORY").empty()) return "/run" + file;
  const std::string runtime = environment("XDG_RUNTIME_DIR");
  return runtime.empty() ? "/tmp/nimsync-" + std::to_string(::geteuid()) + "/registry.sock" : runtime + file;
}

Server::Server(const Config& config)
    : idle_exit_(config.idle_exit),
      read_again_(config.read_again),
      catalog_(config.limits, os::page_bytes()),
      connections_limit_(connections_limit(config.limits)),
      administrators_(config.administrators),
      declared_(config.declared.begin(), config.declared.end()) {
  signals_.add(SIGTERM);
  signals_.add(SIGINT);
  signals_.add(SIGHUP);
  supervisor::Inherited inherited = supervisor::inherit();
  const bool activated = config.socket.empty() && inherited.socket;
  socket_path_ = activated ? path_of(inherited.socket.get()) : config.socket.empty() ? default_socket() : config.socket;
  if (!activated) {
    const std::string folder = std::filesystem::path(socket_path_).parent_path().string();
    if (config.socket.empty()) require_own_folder(folder, folder.starts_with("/run/nimsync") ? 0755 : 0700);
  }
  const std::string runtime = environment("RUNTIME_DIRECTORY");
  store_.emplace(!config.state_dir.empty() ? config.state_dir
                 : !runtime.empty()        ? runtime.substr(0, runtime.find(':'))
                                           : socket_path_ + ".state",
                 random_bits, descriptor_store(std::move(inherited.kept)));
  Store::Adopted adopted = store_->adopt(config.limits);
  for (const std::string& remark : adopted.remarks) spdlog::warn("{}", remark);
  for (Definition& definition : adopted.channels) catalog_.insert(std::move(definition));
  service_.emplace(Service{.catalog = catalog_, .store = *store_, .info = [this] { return info(); }});
  while (declare_some()) continue;  // before anybody can ask
  if (activated) {
    os::refuse_descriptors(inherited.socket.get());
    acceptor_.assign(Protocol(), inherited.socket.get());
    static_cast<void>(inherited.socket.release());
  } else {
    listen(config);
  }
}

Server::~Server() {
  stop();
  loop_.restart();
  loop_.poll();  // sessions end before what they refer to
  if (socket_is_ours_) ::unlink(socket_path_.c_str());
}

/// Binds the socket, under a lock: of two registries that find a dead one's socket, one would else unlink the other's.
void Server::listen(const Config&) {
  const std::string lock = socket_path_ + ".lock";
  socket_lock_.reset(::open(lock.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!socket_lock_) os::fail(errno, "cannot open " + lock);
  if (os::take_lease(socket_lock_) != os::Lease::free) {
    throw Error(Errc::in_use, "another nimsyncd serves " + socket_path_ + "; stop it, or give --socket");
  }
  struct stat st {};
  if (::lstat(socket_path_.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode)) throw Error(Errc::exists, socket_path_ + " is there and is not a socket");
    int error = 0;
    if (os::connect(socket_path_, 1000, error) || error != ECONNREFUSED) {
      throw Error(Errc::in_use, "something answers at " + socket_path_ + " already; stop it, or give --socket");
    }
    ::unlink(socket_path_.c_str());
  }
  try {
    acceptor_.open();
    os::refuse_descriptors(acceptor_.native_handle());
    acceptor_.bind(Protocol::endpoint(socket_path_));
    socket_is_ours_ = true;
    // Everybody may connect: who may do what is decided for each channel.
    if (::chmod(socket_path_.c_str(), 0666) != 0) {
      const int error = errno;
      ::unlink(socket_path_.c_str());
      os::fail(error, "cannot open " + socket_path_ + " to others");
    }
    acceptor_.listen();
  } catch (const boost::system::system_error& e) {
    if (socket_is_ours_) ::unlink(socket_path_.c_str());
    os::fail(e.code().value(), "cannot listen at " + socket_path_);
  }
}

void Server::run() {
  wait_for_signal();
  accept();
  watch_idleness();
  feed_watchdog();
  spdlog::info("nimsyncd is ready version={} socket={} state={} channels={}", kVersion, socket_path_, store_->path(),
               catalog_.size());
  supervisor::ready("serves " + socket_path_);
  loop_.run();
}

void Server::wait_for_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    if (signal == SIGHUP) {
      reload();
      return wait_for_signal();
    }
    spdlog::info("nimsyncd ends signal={} channels={}", signal, catalog_.size());
    if (const std::size_t sealed = catalog_.sealed(); sealed != 0 && !store_->hands_on_sealed()) {
      spdlog::warn("the memory of sealed channels ends with this registry channels={}", sealed);
    }
    stop();
  });
}

void Server::reload() {
  supervisor::reloading();
  if (const auto config = read_again_ ? read_again_() : std::nullopt) {
    catalog_.set_limits(config->limits);
    connections_limit_ = connections_limit(config->limits);
    administrators_ = config->administrators;
    idle_exit_ = config->idle_exit;
    watch_idleness();
    const bool under_way = !declared_.empty();
    declared_.insert(declared_.end(), config->declared.begin(), config->declared.end());
    if (!under_way) declare_the_rest();
    spdlog::info("reloaded the settings");
  }
  supervisor::ready("serves " + socket_path_);
}

void Server::stop() {
  if (!stopping_) supervisor::stopping();
  stopping_ = true;
  boost::system::error_code error;
  acceptor_.close(error);
  signals_.cancel(error);
  retry_.cancel();
  idle_.cancel();
  watchdog_.cancel();
  for (const auto& [key, session] : std::map(sessions_)) {
    if (const auto living = session.lock()) living->stop();
  }
}

void Server::accept() {
  acceptor_.async_accept([this](const boost::system::error_code& error, Protocol::socket socket) {
    if (stopping_) return;
    if (!error) {
      welcome(std::move(socket));
      return accept();
    }
    // Out of descriptors, most likely: the client stays in the queue until some are free again.
    spdlog::warn("cannot accept a connection: {}", error.message());
    retry_.expires_after(kAcceptAgain);
    retry_.async_wait([this](const boost::system::error_code& cancelled) {
      if (!cancelled) accept();
    });
  });
}

void Server::welcome(Protocol::socket socket) {
  Caller caller;
  try {
    os::Credentials peer = os::credentials(socket.native_handle());
    caller = {.pid = peer.pid,
              .uid = peer.uid,
              .gid = peer.gid,
              .groups = {peer.groups.begin(), peer.groups.end()},
              .administers = peer.uid == 0 || peer.uid == ::geteuid()};
    if (administrators_) caller.administers = caller.administers || caller.is_in(*administrators_);
  } catch (const Error& e) {
    spdlog::warn("{}", e.what());
    return;
  }
  const std::uint32_t uid = caller.uid;
  const std::uint64_t connections = ++connections_[uid];
  idle_.cancel();
  auto session =
      std::make_shared<Session>(*service_, std::move(socket), std::move(caller), [this, uid](Session* ended) {
        sessions_.erase(ended);
        if (--connections_[uid] == 0) connections_.erase(uid);
        watch_idleness();
      });
  sessions_.emplace(session.get(), session);
  if (connections > connections_limit_) {
    session->refuse(Errc::over_limit, "uid " + std::to_string(uid) + " has " + std::to_string(connections_limit_) +
                                          " connections, the limit; close some");
  } else {
    session->start();
  }
}

void Server::watch_idleness() {
  if (!idle_exit_ || stopping_ || !connections_.empty()) return;
  if (service_) service_->settle_all();
  if (catalog_.size() != 0) return;
  idle_.expires_after(*idle_exit_);
  idle_.async_wait([this](const boost::system::error_code& cancelled) {
    if (cancelled || !connections_.empty() || catalog_.size() != 0) return;
    spdlog::info("nimsyncd ends idle_s={}", idle_exit_->count());
    stop();
  });
}

bool Server::declare_some() {
  if (declared_.empty()) return false;
  const Declaration& declared = declared_.front();
  const std::string& name = declared.call.name;
  try {
    if (!making_) {
      if (const Definition* there = catalog_.find(name)) {
        Limits loosest = catalog_.limits();
        loosest.channels = loosest.bytes = loosest.sealed = std::numeric_limits<std::uint64_t>::max();
        const Definition wanted =
            Catalog(loosest, catalog_.page()).define(declared.call, declared.group, declared.owner);
        if (const std::string differs = drift(*there, wanted); !differs.empty()) {
          spdlog::warn("channel={} is not as declared at {}: {}", name, declared.where, differs);
        }
        declared_.pop_front();
        return true;
      }
      if (catalog_.is_reserved(name)) return true;  // a client is making it
      Definition definition = catalog_.define(declared.call, declared.group, declared.owner);
      definition.created = std::time(nullptr);
      making_ = std::make_unique<Making>(*service_, std::move(definition));
    }
    if (!making_->step()) return true;
    making_->finish();
    spdlog::info("created channel={} declared={}", name, declared.where);
  } catch (const Error& e) {
    spdlog::error("cannot make channel={} declared={}: {}", name, declared.where, e.what());
  }
  making_.reset();
  declared_.pop_front();
  return true;
}

/// A slice each turn of the loop: clients are served meanwhile.
void Server::declare_the_rest() {
  boost::asio::post(loop_, [this] {
    if (!stopping_ && declare_some()) declare_the_rest();
  });
}

/// From the loop, so that one that hangs isn't taken for alive: twice as often as is asked for.
void Server::feed_watchdog() {
  const auto interval = supervisor::watchdog();
  if (!interval || stopping_) return;
  supervisor::still_alive();
  watchdog_.expires_after(*interval / 2);
  watchdog_.async_wait([this](const boost::system::error_code& cancelled) {
    if (!cancelled) feed_watchdog();
  });
}

protocol::InfoReply Server::info() const {
  std::uint64_t connections = 0;
  for (const auto& [uid, count] : connections_) connections += count;
  const Limits& limits = catalog_.limits();
  const auto uptime = std::chrono::steady_clock::now() - started_;
  return {.version = std::string(kVersion),
          .pid = ::getpid(),
          .uid = ::geteuid(),
          .uptime_s = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(uptime).count()),
          .socket = socket_path_,
          .state_dir = store_->path(),
          .channels = catalog_.size(),
          .bytes = catalog_.bytes(),
          .connections = connections,
          .max_channels = limits.channels,
          .max_bytes = limits.bytes,
          .max_channel_bytes = limits.channel_bytes,
          .max_capacity = limits.capacity,
          .max_message = limits.message,
          .keeps_sealed = store_->hands_on_sealed()};
}

}  // namespace nimsync::registry
