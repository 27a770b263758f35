#include "daemon/supervisor.hpp"

#include <fcntl.h>
#include <systemd/sd-daemon.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <thread>

namespace nimsync::registry::supervisor {

namespace {

constexpr int kLeaveEnvironment = 0;

/// An array of strings as sd_listen_fds_with_names(3) allocates it.
void free_all(char** strings) {
  for (char** each = strings; *each != nullptr; ++each) std::free(*each);  // NOLINT(cppcoreguidelines-no-malloc)
  std::free(strings);                                                      // NOLINT(cppcoreguidelines-no-malloc)
}

void tell(const std::string& state) {
  ::sd_notify(kLeaveEnvironment, state.c_str());
}

}  // namespace

Inherited inherit() {
  constexpr int kForgetEnvironment = 1;
  Inherited inherited;
  char** found = nullptr;
  const int count = ::sd_listen_fds_with_names(kForgetEnvironment, &found);
  if (count < 0) os::fail(-count, "cannot take what the service manager hands over");
  if (count == 0) return inherited;
  const std::unique_ptr<char*, void (*)(char**)> names(found, free_all);
  for (int i = 0; i < count; ++i) {
    os::Descriptor fd(SD_LISTEN_FDS_START + i);
    if (::sd_is_socket_unix(fd.get(), SOCK_STREAM, 1, nullptr, 0) > 0) {
      if (!inherited.socket) inherited.socket = std::move(fd);
    } else {
      inherited.kept.insert_or_assign(names.get()[i], std::move(fd));
    }
  }
  return inherited;
}

void ready(const std::string& status) {
  tell("READY=1\nSTATUS=" + status);
}

void reloading() {
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now().time_since_epoch());  // CLOCK_MONOTONIC
  tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.count()));
}

void stopping() {
  tell("STOPPING=1");
}

void cannot_start(const std::string& status) {
  constexpr std::chrono::seconds kMoment{1};
  if (std::getenv("NOTIFY_SOCKET") == nullptr) return;
  tell("STATUS=" + status);
  std::this_thread::sleep_for(kMoment);
}

std::optional<std::chrono::microseconds> watchdog() {
  std::uint64_t interval_us = 0;
  if (::sd_watchdog_enabled(kLeaveEnvironment, &interval_us) <= 0) return std::nullopt;
  return std::chrono::microseconds(interval_us);
}

void still_alive() {
  tell("WATCHDOG=1");
}

bool keeps_descriptors() {
  const char* most = std::getenv("FDSTORE");
  const char* manager = std::getenv("NOTIFY_SOCKET");
  return manager != nullptr && most != nullptr && *most != '\0' && std::string(most) != "0";
}

void keep(const std::string& name, const os::Descriptor& fd) {
  if (!keeps_descriptors()) return;
  const int number = fd.get();
  const std::string state = "FDSTORE=1\nFDPOLL=0\nFDNAME=" + name;
  const int said = ::sd_pid_notify_with_fds(0, kLeaveEnvironment, state.c_str(), &number, 1);
  if (said < 0) os::fail(-said, "cannot have the service manager keep a descriptor");
}

void forget(const std::string& name) {
  if (keeps_descriptors()) tell("FDSTOREREMOVE=1\nFDNAME=" + name);
}

}  // namespace nimsync::registry::supervisor
