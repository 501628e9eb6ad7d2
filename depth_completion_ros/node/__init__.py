"""Everything that speaks ROS: the only room that imports rclpy."""
