// Users and groups by name or number, as this machine knows them.
//
// Threads: any. Errors: Error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/catalog.hpp"

namespace nimsync::registry {

/// The number of a group that is given by number or name; nothing for "". Error `invalid`: there is no such group.
std::optional<std::uint32_t> group_number(const std::string& group);

/// A user, given by number or name, as if it asked itself: with its groups, and the rights of `administers`. Error
/// `invalid`: there is no such user.
Caller as_user(const std::string& user, bool administers);

}  // namespace nimsync::registry
