namespace failover {}
