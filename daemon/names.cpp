#include "daemon/names.hpp"

#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <vector>

namespace nimsync::registry {

namespace {

constexpr std::size_t kEntryBytes = std::size_t{64} << 10;

std::optional<std::uint32_t> as_number(const std::string& text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

}  // namespace

std::optional<std::uint32_t> group_number(const std::string& group) {
  if (group.empty()) return std::nullopt;
  if (const auto number = as_number(group)) return number;
  std::vector<char> buffer(kEntryBytes);
  ::group entry{};
  ::group* found = nullptr;
  if (::getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    throw Error(Errc::invalid, "there is no group '" + group.substr(0, 100) + "'");
  }
  return found->gr_gid;
}

Caller as_user(const std::string& user, bool administers) {
  std::vector<char> buffer(kEntryBytes);
  ::passwd entry{};
  ::passwd* found = nullptr;
  const auto number = as_number(user);
  const int error = number ? ::getpwuid_r(*number, &entry, buffer.data(), buffer.size(), &found)
                           : ::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (error != 0 || found == nullptr) throw Error(Errc::invalid, "there is no user '" + user.substr(0, 100) + "'");
  int count = 0;
  ::getgrouplist(found->pw_name, found->pw_gid, nullptr, &count);
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  if (::getgrouplist(found->pw_name, found->pw_gid, groups.data(), &count) < 0) groups.clear();
  return {
      .uid = found->pw_uid, .gid = found->pw_gid, .groups = {groups.begin(), groups.end()}, .administers = administers};
}

}  // namespace nimsync::registry
