// nimsyncd: the registry daemon. Parses its flags, serves, and says by its exit code how it went.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include "daemon/interface.hpp"
#include "daemon/log.hpp"
#include "daemon/server.hpp"

namespace {

constexpr int kUsage = 2;

/// As many descriptors as the system lets this process have; how many that is.
std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlimit raised{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
  return ::setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

}  // namespace

int main(int argc, char** argv) try {
  nimsync::registry::Config config;
  std::string level = "info";
  std::uint64_t idle_exit_s = 0;

  // Sealed channels take two descriptors each, and no more than a quarter of all, unless more are asked for.
  config.limits.sealed = std::min(config.limits.sealed, raise_descriptor_limit() / 8);

  CLI::App app{
      "nimsyncd: the registry of nimsync channels. It names, sizes, grants and watches them; messages never pass "
      "through it, and channels outlive it."};
  app.set_version_flag("--version", "nimsyncd " + std::string(nimsync::registry::kVersion));
  app.add_option("--socket", config.socket,
                 "where clients connect (default: the activated socket; else /run/nimsync/registry.sock for root and "
                 "services, $XDG_RUNTIME_DIR/nimsync/registry.sock for users)");
  app.add_option("--state-dir", config.state_dir,
                 "where channels are kept (default: $RUNTIME_DIRECTORY, else the socket's path with .state)");
  app.add_option("--log-level", level, "trace, debug, info, warn or error")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}))
      ->capture_default_str();
  app.add_option("--idle-exit", idle_exit_s, "end after so many seconds without channels and clients; 0 is never")
      ->capture_default_str();
  const CLI::AsSizeValue size(false);  // 1K is 1024
  app.add_option("--max-channels", config.limits.channels, "channels in all")->capture_default_str();
  app.add_option("--max-bytes", config.limits.bytes, "shared memory of all channels; 16G, say")
      ->transform(size)
      ->capture_default_str();
  app.add_option("--max-channel-bytes", config.limits.channel_bytes, "shared memory of one channel")
      ->transform(size)
      ->capture_default_str();
  app.add_option("--max-capacity", config.limits.capacity, "records of one channel")->capture_default_str();
  app.add_option("--max-message", config.limits.message, "bytes of one record or frame")
      ->transform(size)
      ->capture_default_str();
  app.add_option("--max-connections", config.limits.connections,
                 "connections of one uid; at most half of the descriptors that the system allows")
      ->capture_default_str();
  app.add_option("--max-sealed", config.limits.sealed, "sealed channels; each takes two descriptors")
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? EXIT_SUCCESS : kUsage;
  }
  if (idle_exit_s != 0) config.idle_exit = std::chrono::seconds(idle_exit_s);

  nimsync::registry::start_log(level);
  nimsync::registry::Server server(config);
  server.run();
  return EXIT_SUCCESS;
} catch (const std::exception& e) {
  std::cerr << "nimsyncd: " << e.what() << "\n";
  return EXIT_FAILURE;
}
