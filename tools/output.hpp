// What the verbs print: channels, peers and names in words and in JSON, and complaints.
//
// One thread.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <nimsync/nimsync.hpp>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/table.hpp"

namespace nimsync::tools {

// Exit codes of endings that aren't errors of set-up; the others are in nimsync::kErrors.
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitTimeout = 8;
inline constexpr int kExitPeerLost = 9;
inline constexpr int kExitCorrupted = 11;
inline constexpr int kExitRemoved = 12;
inline constexpr int kExitSignal = 128;  // and its number

/// Where the words go, and how.
struct Output {
  std::ostream& out;
  std::ostream& err;
  bool json = false;
  Style style;
};

using Json = nlohmann::ordered_json;

/// An object with the version that commands.hpp describes, to be filled.
Json document();
/// A document, over several lines or on one.
void print(const Output& output, const Json& json);
void print_line(const Output& output, const Json& json);
/// "nimsyncctl: `what`".
void complain(const Output& output, std::string_view what);

/// CHANNEL, as commands.hpp describes it.
Json json_of(const ChannelInfo& channel);
Json json_of(const std::vector<ChannelInfo>& channels);

inline bool is_framed(const ChannelInfo& channel) {
  return channel.geometry.layout == Layout::framed;
}
/// Records as a number, bytes of ring as a size.
std::string amount(const ChannelInfo& channel, std::uint64_t value);
/// "feed[17]", or "-".
std::string text_of(const std::optional<Peer>& peer);
Colour colour_of(std::string_view state);

/// Names of users and groups, each looked up once. A number without a name is its digits.
class Names {
 public:
  std::string user(std::uint32_t uid);
  std::string group(std::uint32_t gid);

 private:
  using Known = std::map<std::uint32_t, std::string>;
  template <class Look>
  static std::string find(Known& known, std::uint32_t id, Look look);

  Known users_;
  Known groups_;
};

}  // namespace nimsync::tools
