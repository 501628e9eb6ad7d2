"""Everything that needs ROS: the only subpackage that imports rclpy."""
