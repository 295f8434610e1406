#ifndef CONTROLLER_CORE_ORDERS_H_
#define CONTROLLER_CORE_ORDERS_H_

#include "controller/core/context.h"

namespace failover::core {

// An operator's order: carried out or refused with what stands in the way and what clears it.
// Exactly one Reply each; kept in the history with who gave it.
void OnOrder(Context& context, const Order& order);

}  // namespace failover::core

#endif  // CONTROLLER_CORE_ORDERS_H_
