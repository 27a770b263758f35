// The texts that GetInterfaceDescription serves: the .varlink files of this folder, word for word.
#pragma once

#include <string_view>

namespace nimsync::registry {

extern const std::string_view kRegistryInterface;  // io.nimsync.registry
extern const std::string_view kServiceInterface;   // org.varlink.service
extern const std::string_view kVersion;            // of nimsync

}  // namespace nimsync::registry
