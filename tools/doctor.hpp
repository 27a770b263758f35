// doctor: looks at the machine, the registry, its folder and its channels for what is wrong, and says what to do about
// it. Nothing is changed.
//
// Each finding has an id that stays, for programs:
//
//   no-registry, stale-socket, not-a-socket, socket-denied, silent, foreign-service     nobody serves, and why
//   version             the registry's program is not of this one's version
//   near-limit          a limit of the registry is nearly reached
//   descriptors         the registry has nearly as many as its process may have
//   memory-max          its control group may have less memory than its limits promise, or has nearly all of it
//   shm-missing, shm-permissions, shm-small, shm-inodes      /dev/shm
//   membarrier-refused, peer-without-membarrier              this process, or one of a channel's, is refused
//   membarrier(2) damaged, orphaned   a channel that is to be removed no-receiver, no-sender      a peer is gone, and
//   the other side has messages for it or waits for some state-unread, state-permissions, state-leftover,
//   state-definition      the state folder, and folders in it stale-segment, foreign-segment, unknown-segments memory
//   that no channel has linger              systemd-logind is going to remove the memory
//
// One thread.
#pragma once

#include <cstdint>
#include <nimsync/nimsync.hpp>
#include <string>
#include <vector>

#include "tools/autostart.hpp"
#include "tools/output.hpp"

namespace nimsync::tools {

enum class Gravity : std::uint8_t { note, warning, error };

struct Finding {
  Gravity gravity;
  std::string id;
  std::string what;
  std::string advice;
};

/// What its own words say against a registry, `version` being this program's.
std::vector<Finding> judge(const RegistryInfo& info, const std::string& version);
/// What a channel's description says against it.
std::vector<Finding> judge(const ChannelInfo& channel);

struct DoctorOptions {
  std::string version;    // of this program
  std::string state_dir;  // empty: the registry's, else where it usually is
};
/// 1 when there is an error or a warning.
int doctor(const Place& place, const DoctorOptions& options, const Output& output);

}  // namespace nimsync::tools
