// Channels that files declare: channels.d/*.conf, one a line, in the words of `nimsyncctl create` and `--owner USER`:
//
//     md.ticks --size 64 --capacity 1024 --mode 0640 --group traders --owner feed
//
// Threads: one.
#pragma once

#include <string>
#include <vector>

#include "daemon/catalog.hpp"

namespace nimsync::registry {

struct Declarations {
  std::vector<Declaration> channels;
  std::vector<std::string> mistakes;  // FILE:LINE: what is wrong
};

/// Of a folder's *.conf, in the order of their names; where there is no such folder, and there needn't be one, of none.
/// A line with a mistake is left out, and so is a name's second one.
Declarations read_declarations(const std::string& folder, bool must_exist);

}  // namespace nimsync::registry
