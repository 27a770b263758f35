// All of nimsync: named single-producer single-consumer channels between processes on one machine.
#pragma once

#include "nimsync/channel.hpp"
#include "nimsync/error.hpp"
#include "nimsync/options.hpp"
#include "nimsync/registry.hpp"
#include "nimsync/status.hpp"
#include "nimsync/wait.hpp"
#include "nimsync/wait_set.hpp"
