#include "bench/rou_di.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>

namespace bench {
namespace {

constexpr const char* kProgram = "/usr/bin/iox-roudi";

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.empty() ? "nothing" : text.substr(text.rfind('\n') + 1);
}

/// The files in /dev/shm that a process maps.
std::vector<std::string> shared_memory_of(pid_t pid) {
  std::vector<std::string> paths;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t at = line.find("/dev/shm/");
    if (at != std::string::npos) paths.push_back(line.substr(at));
  }
  return paths;
}

}  // namespace

RouDi::RouDi(const std::string& log) {
#if NIMSYNC_BENCH_ICEORYX
  try {
    start(log);
  } catch (...) {
    end();
    throw;
  }
  if (!why_not_.empty()) end();
#else
  static_cast<void>(log);
  why_not_ = "built without libiceoryx-posh-dev";
#endif
}

void RouDi::start(const std::string& log) {
  if (::access(kProgram, X_OK) != 0) {
    why_not_ = std::string("there is no ") + kProgram + " (package iceoryx)";
    return;
  }
  process_ = Child::run(kProgram, {"--log-level", "info", "--kill-delay", "1"}, log);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (text_of(log).find("RouDi is ready for clients") == std::string::npos) {
    if (const auto how = process_.ended()) {
      why_not_ = std::string(kProgram) + " " + *how + "; it said: " + last_line(text_of(log));
      return;
    }
    if (std::chrono::steady_clock::now() > deadline) {
      why_not_ = std::string(kProgram) + " was not ready after 10 s; it said: " + last_line(text_of(log));
      return;
    }
    static_cast<void>(next_signal(5));
  }
}

void RouDi::end() noexcept {
  if (process_.ended() || process_.pid() <= 0) return;  // another one's traces aren't ours to take away
  // It aborts, and leaves these, when a client died before it (version 2.0.3): the measured processes do, and leave
  // theirs.
  std::vector<std::string> traces = shared_memory_of(process_.pid());
  traces.insert(traces.end(), {"/tmp/roudi", "/tmp/roudi.lock", "/tmp/iox-unique-roudi.lock"});
  for (const char* const who : {"near", "far"}) {
    const std::string client = "/tmp/" + iceoryx_name(::getpid(), who);
    traces.insert(traces.end(), {client, client + ".lock"});
  }
  constexpr int kPatience_ms = 10'000;
  process_.end(kPatience_ms);
  for (const std::string& path : traces) ::unlink(path.c_str());
}

RouDi::~RouDi() {
  end();
}

}  // namespace bench
