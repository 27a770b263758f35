// What lies on the machine, whether or not a registry runs: its state folder, and the channels in it.
//
// Nothing is changed, and no lock taken. One thread.
#pragma once

#include <cstdint>
#include <nimsync/nimsync.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tools/autostart.hpp"

namespace nimsync::tools {

/// A channel as it was found. Its state is that of a registry's, but "sealed" for one whose memory has no name, and of
/// which, therefore, no counts can be read here.
struct KeptChannel {
  ChannelInfo info;
  std::vector<std::string> segments;  // names in /dev/shm, with their slash; none of a sealed one
  std::vector<std::string> faults;    // in what these aren't what was made
};

struct Kept {
  std::string folder;  // canonical
  std::uint32_t owner = 0;
  unsigned mode = 0;
  std::string prefix;  // of its segments' names, without a slash
  std::vector<KeptChannel> channels;
  struct Other {
    std::string name;
    std::string why;             // it is no channel
    bool half_done = false;      // made or removed by a registry that died meanwhile, or works at it just now
    bool is_definition = false;  // it has one, which is wrong
  };
  std::vector<Other> others;
};

/// The state folder that `given` is, else the first there is of the registries that are meant by `place`. "" when there
/// is none.
std::string state_folder(const Place& place, const std::string& given);

/// Error: denied, no_space, failed: it can't be read.
Kept read_kept(const std::string& folder);

/// Its channels whose names match the shell pattern ("" is all), by name. Errors: no_registry when no state folder is
/// found, and those of read_kept().
std::vector<ChannelInfo> list_offline(const Place& place, const std::string& given, const std::string& pattern);

}  // namespace nimsync::tools
