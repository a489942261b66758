"""AutoWU (Kim 2021): raises the learning rate until the loss rises, then decays."""
