// The registry and its channels as OpenMetrics text, for whoever collects such.
//
// Thread-safe: pure functions; publish() writes a file.
#pragma once

#include <nimsync/nimsync.hpp>
#include <string>
#include <vector>

#include "tools/autostart.hpp"
#include "tools/output.hpp"

namespace nimsync::tools {

/// The text, with its "# EOF". Counters end in _total; what a channel counts in, messages or bytes of ring (frames), is
/// its label "unit". Without a registry only nimsync_registry_up, which is 0.
std::string metrics_of(const RegistryInfo* info, const std::vector<ChannelInfo>& channels);

struct MetricsOptions {
  std::string file;  // empty: to the output
};

/// Prints it, or puts it into a file whole, by a rename, as node_exporter's textfile collector needs it: a disk that is
/// full leaves the file as it was. Without a registry that is what it says, and the exit code is no_registry's.
int metrics(const Place& place, const MetricsOptions& options, const Output& output);

}  // namespace nimsync::tools
